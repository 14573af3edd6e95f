"""The private authority: what its certificates say, and when they are made anew."""

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from deploy.local import certificates as module
from deploy.local.certificates import Certificates


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_names_its_service_and_is_the_authoritys(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path, "test-local")
    assert certificates.renew(["health", "operator"]) == ["health", "operator"]
    store = Store([read(certificates.authority_file)])
    verified = PolicyBuilder().store(store).build_client_verifier().verify(
        read(certificates.certificate_file("health")), []
    )  # fmt: skip
    assert verified.subjects is not None
    names = [name.value for name in verified.subjects if isinstance(name, x509.UniformResourceIdentifier)]
    assert names == ["urn:concert:test-local:health"]


@pytest.mark.parametrize(
    ("asked", "is_met"), [("social-services", True), ("audit", False), ("localhost", False)]
)
def test_a_service_is_met_under_its_own_name_alone(tmp_path: Path, asked: str, is_met: bool) -> None:
    certificates = Certificates(tmp_path, "test-local")
    certificates.renew(["social_services"])
    store = Store([read(certificates.authority_file)])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(asked))
    with contextlib.nullcontext() if is_met else pytest.raises(VerificationError):
        verifier.verify(read(certificates.certificate_file("social_services")), [])


def test_it_is_made_anew_when_half_of_its_day_is_over_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates(tmp_path, "test-local")
    certificates.renew(["health"])
    authority = certificates.authority_file.read_bytes()
    assert certificates.renew(["health"]) == []
    monkeypatch.setattr(module, "LIFETIME", timedelta(hours=11))
    certificates.certificate_file("health").unlink()
    assert certificates.renew(["health"]) == ["health"], "one that is missing"
    assert certificates.renew(["health"]) == ["health"], "one with eleven hours left"
    assert certificates.authority_file.read_bytes() == authority
