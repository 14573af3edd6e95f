"""The processes of one machine, as a table: what each runs, listens on, waits for and is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from deploy.local.installation import Installation
from schemas.topics import SECTORS

KAFKA: Final = "kafka"
POSTGRES: Final = "postgres"
MAIL_SINK: Final = "mail_sink"


@dataclass(frozen=True, slots=True)
class Process:
    """One service process; its name is its database role and, where it has one, its Kafka user."""

    name: str
    module: str
    ports: tuple[str, ...]
    needs: tuple[str, ...]
    told: tuple[Callable[[Installation, str], Mapping[str, str]], ...]
    arguments: tuple[str, ...] = ("run",)

    def environment(self, installation: Installation) -> dict[str, str]:
        """Everything that this process is told, and nothing else."""
        return {name: value for part in self.told for name, value in part(installation, self.name).items()}


def installed(installation: Installation, name: str) -> Mapping[str, str]:
    """What every service is told."""
    configuration = installation.configuration
    return {"CONCERT_MODE": configuration.mode, "CONCERT_CELL": configuration.cell}


def database(installation: Installation, name: str) -> Mapping[str, str]:
    """The process's own role in its service's database."""
    return {
        "CONCERT_DATABASE__URL": installation.database_url(name),
        "CONCERT_DATABASE__PASSWORD_FILE": str(installation.secrets.password_file("database", name)),
    }


def kafka(installation: Installation, name: str) -> Mapping[str, str]:
    """The service's own user on the brokers."""
    return {
        "CONCERT_KAFKA__BOOTSTRAP": installation.bootstrap,
        "CONCERT_KAFKA__USER": name,
        "CONCERT_KAFKA__PASSWORD_FILE": str(installation.secrets.password_file("kafka", name)),
        "CONCERT_KAFKA__NAMESPACE": installation.namespace,
    }


def tls(installation: Installation, name: str) -> Mapping[str, str]:
    """The service's certificate for the internal port."""
    certificates = installation.certificates
    return {
        "CONCERT_TLS__CERTIFICATE_FILE": str(certificates.certificate_file(name)),
        "CONCERT_TLS__KEY_FILE": str(certificates.key_file(name)),
        "CONCERT_TLS__AUTHORITY_FILE": str(certificates.authority_file),
    }


def issuer(installation: Installation, name: str) -> Mapping[str, str]:
    """Whose access tokens are taken at the agencies' port."""
    outside = installation.configuration.issuer
    keys_file = outside.keys_file if outside else installation.secrets.issuer_public_file()
    return {"CONCERT_ISSUER__NAME": installation.issuer_name, "CONCERT_ISSUER__KEYS_FILE": str(keys_file)}


def trail(installation: Installation, name: str) -> Mapping[str, str]:
    """The access log and the keys that it signs with, as those who ask it must know them."""
    return {
        "CONCERT_LOG": installation.configuration.origin,
        "CONCERT_AUDIT__URL": installation.internal_url("audit"),
        "CONCERT_AUDIT__PERMIT_KEY": installation.permit_key,
        "CONCERT_AUDIT__LOG_KEY": installation.log_key,
    }


def signing(installation: Installation, name: str) -> Mapping[str, str]:
    """The key that a sector signs consents with."""
    return {"CONCERT_SIGNING_KEY_FILE": str(installation.secrets.key_file(f"signing-{name}"))}


def sequencer(installation: Installation, name: str) -> Mapping[str, str]:
    """The keys of the service that writes the access log."""
    return {
        "CONCERT_LOG": installation.configuration.origin,
        "CONCERT_PERMIT_KEY_FILE": str(installation.secrets.key_file("permit")),
        "CONCERT_WRAP_KEY_FILE": str(installation.secrets.key_file("wrap")),
        "CONCERT_AUDIT__LOG_KEY": installation.log_key,
    }


def signer(installation: Installation, name: str) -> Mapping[str, str]:
    """The key of the access log, and the file that keeps it from ever signing backwards."""
    return {
        "CONCERT_LOG": installation.configuration.origin,
        "CONCERT_LOG_KEY_FILE": str(installation.secrets.key_file("log")),
        "CONCERT_HIGH_WATER_FILE": str(installation.high_water_file),
    }


def mail(installation: Installation, name: str) -> Mapping[str, str]:
    """Where mail is handed in."""
    server = installation.mail_server
    return {
        "CONCERT_SMTP__HOST": server.host,
        "CONCERT_SMTP__PORT": str(server.port),
        "CONCERT_SMTP__SENDER": server.sender,
        "CONCERT_SMTP__ENCRYPTION": server.encryption,
        **({"CONCERT_SMTP__AUTHORITY_FILE": str(server.authority_file)} if server.authority_file else {}),
    }


def sink(installation: Installation, name: str) -> Mapping[str, str]:
    """Where the sink keeps the mails that it takes."""
    return {"CONCERT_DATA": str(installation.configuration.data)}


ALL_PORTS: Final = ("api", "internal", "health")
BOTH: Final = (KAFKA, POSTGRES)
COMMON: Final = (installed, database, kafka, tls)

PROCESSES: Final = (
    Process(MAIL_SINK, "deploy.local.mail_sink", ("smtp",), (), (sink,)),
    Process(
        "audit", "services.audit", ("internal", "health"), (POSTGRES,), (installed, database, tls, sequencer)
    ),
    Process(
        "audit_sign", "services.audit", ("health",), (POSTGRES,), (installed, database, signer), ("signer",)
    ),
    Process("governance", "services.governance", ("internal", "health"), BOTH, COMMON),
    Process("referrals", "services.referrals", ("internal", "health"), BOTH, COMMON),
    Process("notifications", "services.notifications", ALL_PORTS, BOTH, (*COMMON, issuer, mail)),
    *(
        Process(sector, f"services.{sector}", ALL_PORTS, BOTH, (*COMMON, issuer, trail, signing))
        for sector in SECTORS
    ),
)
"""In the order of their start; they stop in the opposite order."""

PLATFORM_PORTS: Final = {"kafka": 9092, "kafka_internal": 9093, "kafka_controller": 9094, "postgres": 5433}
FIRST_PORT: Final = {"smtp": 8025, "api": 8100, "internal": 8200, "health": 8300}


def port_name(process: str, kind: str) -> str:
    """The name of a port in the configuration."""
    return f"{process}_{kind}"


def usual_ports() -> dict[str, int]:
    """Every port with the number that it has if nothing is in the way."""
    numbered = enumerate(PROCESSES)
    services = {
        port_name(each.name, kind): FIRST_PORT[kind] + place
        for place, each in numbered
        for kind in each.ports
    }
    return PLATFORM_PORTS | services
