"""HPKE base mode with X25519, step by step as RFC 9180 writes it: the oracle of suite 1."""

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM_SUITE: Final = b"KEM" + (0x0020).to_bytes(2)
HPKE_SUITE: Final = b"HPKE" + (0x0020).to_bytes(2) + (0x0001).to_bytes(2) + (0x0002).to_bytes(2)


def extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """LabeledExtract of section 4."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """LabeledExpand of section 4, over HKDF-Expand of RFC 5869."""
    message = length.to_bytes(2) + b"HPKE-v1" + suite + label + info
    block, out = b"", b""
    for count in range(1, 1 + -(-length // hashlib.sha256().digest_size)):
        block = hmac.digest(prk, block + message + bytes([count]), "sha256")
        out += block
    return out[:length]


def shared_secret(exchanged: bytes, enc: bytes, public: bytes) -> bytes:
    """ExtractAndExpand of section 4.1."""
    prk = extract(KEM_SUITE, b"", b"eae_prk", exchanged)
    return expand(KEM_SUITE, prk, b"shared_secret", enc + public, 32)


def cipher(secret: bytes, info: bytes) -> tuple[AESGCM, bytes]:
    """KeySchedule of section 5.1, mode base: the first message's key and nonce."""
    psk_id_hash = extract(HPKE_SUITE, b"", b"psk_id_hash", b"")
    info_hash = extract(HPKE_SUITE, b"", b"info_hash", info)
    context = b"\x00" + psk_id_hash + info_hash
    prk = extract(HPKE_SUITE, secret, b"secret", b"")
    return AESGCM(expand(HPKE_SUITE, prk, b"key", context, 32)), expand(
        HPKE_SUITE, prk, b"base_nonce", context, 12
    )


def seal(public: bytes, info: bytes, plain: bytes) -> bytes:
    """SealBase of section 6.1, `enc` first."""
    ephemeral = X25519PrivateKey.generate()
    enc = ephemeral.public_key().public_bytes_raw()
    exchanged = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    key, nonce = cipher(shared_secret(exchanged, enc, public), info)
    return enc + key.encrypt(nonce, plain, b"")


def open_sealed(private: bytes, info: bytes, sealed: bytes) -> bytes:
    """OpenBase of section 6.1."""
    own, enc = X25519PrivateKey.from_private_bytes(private), sealed[:32]
    exchanged = own.exchange(X25519PublicKey.from_public_bytes(enc))
    key, nonce = cipher(shared_secret(exchanged, enc, own.public_key().public_bytes_raw()), info)
    return key.decrypt(nonce, sealed[32:], b"")
