"""A private certificate authority for the services of one machine: made once, its certificates live a day."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.places import write_private
from deploy.local.secrets import SecretFolder, bad_secret
from schemas.wire.topic import host_of, source_of
from services.runtime.settings import TlsSettings

LIFETIME: Final = timedelta(hours=24)
RENEWED_BELOW: Final = timedelta(hours=12)
AUTHORITY_LIFETIME: Final = timedelta(days=3650)
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
KEY_USAGES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class Certificates(SecretFolder):
    """The authority and the certificates of one data directory."""

    def __init__(self, folder: Path, cell: str) -> None:
        super().__init__(folder)
        self.cell = cell
        self.authority_file = folder / "authority.pem"
        """The authority's certificate, which every service trusts."""

    def certificate_file(self, name: str) -> Path:
        """The certificate of a service or of `operator`."""
        return self.folder / f"{name}.pem"

    def key_file(self, name: str) -> Path:
        """The private key that belongs to it."""
        return self.folder / f"{name}.key"

    def tls_settings(self, name: str) -> TlsSettings:
        """What whoever bears that name listens and asks with."""
        return TlsSettings(
            certificate_file=self.certificate_file(name),
            key_file=self.key_file(name),
            authority_file=self.authority_file,
        )

    def renew(self, names: Iterable[str]) -> list[str]:
        """Makes what is missing or has less than half of its life left; the names of the new ones."""
        self.made_once("authority.key", lambda: _private(generate_private_key(SECP256R1())))
        self.made_once("authority.pem", self._new_authority)
        due = [name for name in names if self._is_due(name)]
        for name in due:
            self._issue(name)
        return due

    def check(self, names: Iterable[str]) -> None:
        """Refuses a start on a file that is not the authority's or no pair with its other half."""
        self.check_files()
        if not self.authority_file.exists():
            return
        authority = x509.load_pem_x509_certificate(self.authority_file.read_bytes())
        for name in names:
            key_file, file = self.key_file(name), self.certificate_file(name)
            if not (key_file.exists() and file.exists()):
                continue  # made anew, as after a death in the middle of a renewal
            try:
                certificate = x509.load_pem_x509_certificate(file.read_bytes())
                certificate.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                raise bad_secret(file, "is no certificate of this authority") from None
            try:
                public = load_pem_private_key(key_file.read_bytes(), None).public_key()
            except (ValueError, TypeError):
                raise bad_secret(key_file, "is no private key") from None
            if public != certificate.public_key():
                raise bad_secret(key_file, "is not the key of its certificate")

    def _is_due(self, name: str) -> bool:
        if not (self.certificate_file(name).exists() and self.key_file(name).exists()):
            return True
        certificate = x509.load_pem_x509_certificate(self.certificate_file(name).read_bytes())
        return certificate.not_valid_after_utc - datetime.now(UTC) < RENEWED_BELOW

    def _new_authority(self) -> bytes:
        public = self._authority_key().public_key()
        identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        return self._certificate(
            f"Concert {self.cell}", public, AUTHORITY_LIFETIME, identifier, is_authority=True
        )

    def _authority_key(self) -> EllipticCurvePrivateKey:
        content = self.key_file("authority").read_bytes()
        return cast(EllipticCurvePrivateKey, load_pem_private_key(content, None))

    def _issue(self, name: str) -> None:
        key = generate_private_key(SECP256R1())
        certificate = self._certificate(
            name, key.public_key(), LIFETIME,
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            x509.SubjectAlternativeName([
                x509.UniformResourceIdentifier(source_of(self.cell, name)), x509.DNSName(host_of(name)),
            ]),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._authority_key().public_key()),
        )  # fmt: skip
        # A death between the two must leave no pair that does not match.
        self.certificate_file(name).unlink(missing_ok=True)
        write_private(self.key_file(name), _private(key))
        write_private(self.certificate_file(name), certificate)

    def _certificate(
        self,
        subject: str,
        key: EllipticCurvePublicKey,
        lifetime: timedelta,
        *further: x509.ExtensionType,
        is_authority: bool = False,
    ) -> bytes:
        now = datetime.now(UTC)
        usages = ("key_cert_sign", "crl_sign") if is_authority else ("digital_signature",)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Concert {self.cell}")]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_TOLERANCE)
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
            .add_extension(x509.KeyUsage(**{name: name in usages for name in KEY_USAGES}), critical=True)
        )
        for extension in further:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._authority_key(), SHA256()).public_bytes(Encoding.PEM)


def _private(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
