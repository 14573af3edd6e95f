"""The processes of one machine, as a table: what each runs, listens on, waits for and is told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from deploy.local.configuration import Configuration
from deploy.local.installation import Installation
from deploy.local.issuer.clients import PROBE
from deploy.local.probes import probes_of
from deploy.local.refusals import CannotRun
from schemas.topics import SECTORS, SERVICES, TOPICS, VIEWS
from services.runtime.settings import PREFIX, ConsoleSettings

KAFKA: Final = "kafka"
POSTGRES: Final = "postgres"
MAIL_SINK: Final = "mail_sink"
ISSUER_PROCESS: Final = "issuer"


Variables = dict[str, Callable[[Installation, str], object]]
"""Variables of a process by their names after `CONCERT_`; it is not told of one whose value is None."""


def _of_console(field: str, its: Installation, name: str) -> object:
    return getattr(its.console(name), field, None)


NAMED: Final[Variables] = {
    "MODE": lambda its, name: its.configuration.mode,
    "CELL": lambda its, name: its.configuration.cell,
}
INSTALLED: Final[Variables] = NAMED | {
    "GOVERNANCE_KEYS_FILE": lambda its, name: its.governance_keys_file,
}
DATABASE: Final[Variables] = {
    "DATABASE__URL": lambda its, name: its.database_url(name),
    "DATABASE__PASSWORD_FILE": lambda its, name: its.secrets.password_file("database", name),
}
BROKERS: Final[Variables] = {
    "KAFKA__BOOTSTRAP": lambda its, name: its.kafka.bootstrap,
    "KAFKA__USER": lambda its, name: name,
    "KAFKA__PASSWORD_FILE": lambda its, name: its.secrets.password_file("kafka", name),
    "KAFKA__NAMESPACE": lambda its, name: its.kafka.namespace,
}
WRITER: Final[Variables] = {
    "EPOCH_FILE": lambda its, name: its.epoch_file(name),
    "NEIGHBOURS": lambda its, name: json.dumps(
        {one: its.internal_url(one) for one in SERVICES if one not in (name, "audit", "operations")}
    ),
}
TLS: Final[Variables] = {
    "TLS__CERTIFICATE_FILE": lambda its, name: its.certificates.certificate_file(name),
    "TLS__KEY_FILE": lambda its, name: its.certificates.key_file(name),
    "TLS__AUTHORITY_FILE": lambda its, name: its.certificates.authority_file,
}
TRAIL: Final[Variables] = {"TRAIL_URL": lambda its, name: its.internal_url("audit")}
ISSUER: Final[Variables] = {
    "ISSUER__NAME": lambda its, name: its.issuer.name,
    "ISSUER__KEYS_FILE": lambda its, name: its.issuer.keys_file,
}
EVERYBODY: Final[Variables] = {
    "SERVICES": lambda its, name: json.dumps({one: its.internal_url(one) for one in SERVICES})
}
CONSOLE: Final[Variables] = {
    f"CONSOLE__{field.upper()}": partial(_of_console, field) for field in ConsoleSettings.model_fields
}
PROBED: Final[Variables] = {
    "PROBE__ISSUER": lambda its, name: its.issuer.name if its.is_probed else None,
    "PROBE__CLIENT": lambda its, name: PROBE if its.is_probed else None,
    "PROBE__KEY_FILE": lambda its, name: its.secrets.client_key_file(PROBE) if its.is_probed else None,
    "PROBE__AGENCIES": lambda its, name: json.dumps(probes_of(its)) if its.is_probed else None,
}
RECEIPTS: Final[Variables] = {"RECEIPT_KEY_FILE": lambda its, name: its.secrets.key_file("receipts")}
LOG: Final[Variables] = {"LOG": lambda its, name: its.configuration.origin}
LOG_VERIFIER: Final[Variables] = {"AUDIT__LOG_KEY": lambda its, name: its.log_key}
PARTNERS: Final[Variables] = {"AREAS_FILE": lambda its, name: its.configuration.areas_file}
SECTOR: Final[Variables] = {
    "AUDIT__PERMIT_KEY": lambda its, name: its.permit_key,
    "SIGNING_KEY_FILE": lambda its, name: its.secrets.key_file(f"signing-{name}"),
    "LOG_SIZE_FILE": lambda its, name: its.log_size_file(name),
    "VAULT__SOCKET": lambda its, name: its.vault_socket(name),
    "VAULT__KEY": lambda its, name: its.secrets.public_key(f"vault-{name}"),
    "PEERS": lambda its, name: json.dumps({sector: its.internal_url(sector) for sector in SECTORS}),
}
VAULT: Final[Variables] = {
    "AUDIT__PERMIT_KEY": lambda its, name: its.permit_key,
    "VAULT__FOLDER": lambda its, name: its.vault_folder(name.removesuffix("_vault")),
    "VAULT__SIGNING_KEY_FILE": lambda its, name: its.secrets.key_file(f"vault-{name.removesuffix('_vault')}"),
}
SEQUENCER: Final[Variables] = {
    "PERMIT_KEY_FILE": lambda its, name: its.secrets.key_file("permit"),
    "WRAP_KEY_FILE": lambda its, name: its.secrets.key_file("wrap"),
}
SIGNER: Final[Variables] = {
    "LOG_KEY_FILE": lambda its, name: its.secrets.key_file("log"),
    "HIGH_WATER_FILE": lambda its, name: its.high_water_file,
}
MAIL: Final[Variables] = {
    "SMTP__HOST": lambda its, name: its.mail_server.host,
    "SMTP__PORT": lambda its, name: its.mail_server.port,
    "SMTP__SENDER": lambda its, name: its.mail_server.sender,
    "SMTP__ENCRYPTION": lambda its, name: its.mail_server.encryption,
    "SMTP__AUTHORITY_FILE": lambda its, name: its.mail_server.authority_file,
}
VIEW: Final[Variables] = {"HOLD_FILE": lambda its, name: its.view_hold_file(name)}
SIGNS_IN: Final[Variables] = {
    "NAME": lambda its, name: its.issuer.name,
    "KEY_FILE": lambda its, name: its.secrets.issuer_key_file(),
    "CLIENTS_FILE": lambda its, name: its.clients_file,
    "PERSONS_FILE": lambda its, name: its.persons_file,
}
SINK: Final[Variables] = {"DATA": lambda its, name: its.configuration.data}


@dataclass(frozen=True, slots=True)
class Process:
    """What a service runs; its name is its database role and, where it has one, its Kafka user.

    One without ports is a vault: it listens on a Unix socket in its own folder alone. Of one that reads
    topics as many may run as a topic has partitions.
    """

    name: str
    module: str
    ports: tuple[str, ...]
    needs: tuple[str, ...]
    told: Variables
    arguments: tuple[str, ...] = ("run",)
    alike: int = 1
    """How many of it may run where it reads no topics."""

    def environment(self, installation: Installation, number: int = 1) -> dict[str, str]:
        """Everything that this process is told, and nothing else."""
        values = {name: value_of(installation, self.name) for name, value_of in self.told.items()}
        values |= {"PROCESS": number} if number > 1 else {}
        return {f"{PREFIX}{name}": str(value) for name, value in values.items() if value is not None}

    def port(self, kind: str, number: int = 1) -> str:
        """The name of a port: that for probes is each process's own, the others are the service's."""
        return f"{part_name(self.name, number) if kind == 'health' else self.name}_{kind}"

    def most(self, configuration: Configuration) -> int:
        """How many of it may run at once."""
        read = [topic for topic in TOPICS if self.name in topic.readers]
        is_local = configuration.has_one_broker
        return max((one.partitions_local if is_local else one.partitions for one in read), default=self.alike)


def part_name(service: str, number: int) -> str:
    """The name of a service's process: the service's own for the first one."""
    return service if number == 1 else f"{service}-{number}"


INSIDE: Final = ("internal", "health")
OUTSIDE: Final = ("api", *INSIDE)
BOTH: Final = (KAFKA, POSTGRES)
RECORD: Final = NAMED | DATABASE
DURABLE: Final = RECORD | BROKERS | WRITER | TLS | TRAIL
COMMON: Final = INSTALLED | DURABLE
ALONE: Final = INSTALLED | LOG | LOG_VERIFIER | VAULT
WATCHING: Final = NAMED | BROKERS | VIEW

PROCESSES: Final = (
    Process(MAIL_SINK, "deploy.local.mail_sink", ("smtp",), (), SINK),
    Process(
        "audit", "services.audit", INSIDE, (POSTGRES,), RECORD | TLS | LOG | LOG_VERIFIER | SEQUENCER, alike=2
    ),
    Process("audit_sign", "services.audit", ("health",), (POSTGRES,), RECORD | LOG | SIGNER, ("signer",), 2),
    Process("governance", "services.governance", OUTSIDE, BOTH, COMMON | ISSUER | PARTNERS),
    Process("referrals", "services.referrals", INSIDE, BOTH, COMMON),
    Process("notifications", "services.notifications", OUTSIDE, BOTH, COMMON | ISSUER | MAIL),
    *(
        Process(sector, f"services.{sector}", OUTSIDE, BOTH, COMMON | ISSUER | LOG | LOG_VERIFIER | SECTOR)
        for sector in SECTORS
    ),
    *(Process(f"{sector}_vault", f"services.{sector}", (), (), ALONE, ("vault",)) for sector in SECTORS),
    *(
        Process(view.user, f"services.{view.service}", ("health",), (KAFKA,), WATCHING, ("views",))
        for view in VIEWS
    ),
    Process(ISSUER_PROCESS, "deploy.local.issuer", ("api", "health"), (), NAMED | SIGNS_IN),
    Process(
        "operations",
        "services.operations",
        OUTSIDE,
        BOTH,
        DURABLE | EVERYBODY | CONSOLE | PROBED | RECEIPTS,
    ),
)
"""In the order of their start; they stop in the opposite order."""

PLATFORM_PORTS: Final = {"kafka": 9092, "kafka_internal": 9093, "kafka_controller": 9094, "postgres": 5433}
FIRST_PORT: Final = {"smtp": 8025, "api": 8100, "internal": 8200, "health": 8300}


NOTHING_SCALED: Final[Mapping[str, int]] = {}
NEXT_PROCESS: Final = 100
"""How far the probes' ports of a service's processes lie from each other."""


def usual_ports(scale: Mapping[str, int] = NOTHING_SCALED) -> dict[str, int]:
    """Every port with the number that it has if nothing is in the way."""
    return PLATFORM_PORTS | {
        process.port(kind, number): FIRST_PORT[kind] + place + (number - 1) * NEXT_PROCESS
        for place, process in enumerate(PROCESSES)
        for number in range(1, scale.get(process.name, 1) + 1)
        for kind in process.ports
        if kind == "health" or number == 1
    }


def check_scale(configuration: Configuration) -> None:
    """Refuses numbers of processes that nobody can run, before anything starts."""
    table = {process.name: process for process in PROCESSES}
    for service, count in configuration.scale.items():
        if service not in table:
            names = ", ".join(name for name, one in table.items() if one.most(configuration) > 1)
            raise CannotRun("bad_scale", f"There is no service of this name to scale; there are: {names}.")
        most = table[service].most(configuration)
        if not 1 <= count <= most:
            raise CannotRun("bad_scale", f"Of {service} at least 1 and at most {most} processes can run.")
