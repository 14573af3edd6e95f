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

from deploy.local.places import make_directory, write_private
from deploy.local.sums import Sums, bad_secret
from schemas.wire.topic import host_of, source_of

LIFETIME: Final = timedelta(hours=24)
RENEWED_BELOW: Final = timedelta(hours=12)
AUTHORITY_LIFETIME: Final = timedelta(days=3650)
CLOCK_TOLERANCE: Final = timedelta(minutes=5)


class Certificates:
    """The authority and the certificates of one data directory."""

    def __init__(self, folder: Path, cell: str) -> None:
        self.folder = make_directory(folder)
        self.cell = cell
        self._sums = Sums(folder)

    @property
    def authority_file(self) -> Path:
        """The authority's certificate, which every service trusts."""
        return self.folder / "authority.pem"

    def certificate_file(self, name: str) -> Path:
        """The certificate of a service or of `operator`."""
        return self.folder / f"{name}.pem"

    def key_file(self, name: str) -> Path:
        """The private key that belongs to it."""
        return self.folder / f"{name}.key"

    def renew(self, names: Iterable[str]) -> list[str]:
        """Makes what is missing or has less than half of its life left; the names of the new ones."""
        self._make_authority()
        due = [name for name in names if self._is_due(name)]
        for name in due:
            self._issue(name)
        return due

    def check(self, names: Iterable[str]) -> None:
        """Refuses a start on a file that is not the authority's or no pair with its other half."""
        self._sums.check()
        for name in (name for name in names if self.authority_file.exists()):
            key_file, file = self.key_file(name), self.certificate_file(name)
            if not (key_file.exists() and file.exists()):
                continue  # made anew, as after a death in the middle of a renewal
            try:
                certificate = x509.load_pem_x509_certificate(file.read_bytes())
                certificate.verify_directly_issued_by(self._authority())
            except (ValueError, TypeError, InvalidSignature):
                raise bad_secret(file, "is no certificate of this authority") from None
            try:
                public = load_pem_private_key(key_file.read_bytes(), None).public_key()
            except (ValueError, TypeError):
                raise bad_secret(key_file, "is no private key") from None
            if public != certificate.public_key():
                raise bad_secret(key_file, "is not the key of its certificate")

    def _authority(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.authority_file.read_bytes())

    def _is_due(self, name: str) -> bool:
        if not (self.certificate_file(name).exists() and self.key_file(name).exists()):
            return True
        certificate = x509.load_pem_x509_certificate(self.certificate_file(name).read_bytes())
        return certificate.not_valid_after_utc - datetime.now(UTC) < RENEWED_BELOW

    def _make_authority(self) -> None:
        if self.authority_file.exists():
            return
        if self._sums.names(self.authority_file):
            raise bad_secret(self.authority_file, "is gone")
        key = generate_private_key(SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Concert {self.cell}")])
        certificate = (
            _builder(name, name, key, AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        key_file = write_private(self.folder / "authority.key", _private(key))
        write_private(self.authority_file, certificate.public_bytes(Encoding.PEM))
        for file in (key_file, self.authority_file):
            self._sums.add(file)

    def _issue(self, name: str) -> None:
        authority = self._authority()
        signer = cast(
            EllipticCurvePrivateKey, load_pem_private_key((self.folder / "authority.key").read_bytes(), None)
        )
        key = generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName([
            x509.UniformResourceIdentifier(source_of(self.cell, name)),
            x509.DNSName(host_of(name)),
        ])  # fmt: skip
        certificate = (
            _builder(subject, authority.subject, key, LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(alternative, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .sign(signer, SHA256())
        )
        # A death between the two must leave no pair that does not match.
        self.certificate_file(name).unlink(missing_ok=True)
        write_private(self.key_file(name), _private(key))
        write_private(self.certificate_file(name), certificate.public_bytes(Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
