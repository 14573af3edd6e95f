"""One installation: configuration, ports, secrets, certificates, and the addresses that follow from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import URL, make_url

from deploy.local import accounts, ports
from deploy.local import configuration as configurations
from deploy.local.certificates import Certificates
from deploy.local.configuration import Configuration, ExternalDatabase, MailServer
from deploy.local.databases import DATABASES, FURTHER_ROLES, DatabaseServer
from deploy.local.issuer.clients import CLIENTS, COMMAND, PROBE, Client
from deploy.local.places import make_directory, must_reach
from deploy.local.ports import HOST
from deploy.local.postgres import ADMIN
from deploy.local.secrets import Secrets, bad_secret
from deploy.local.subprocesses import Say
from schemas.events.governance_keys import GovernanceKeys, KeysUnreadable
from schemas.topics import SECTORS, SERVICES, VIEWS
from services.runtime.consoles.open_id import answer_path
from services.runtime.durable_files import write_durably
from services.runtime.settings import LOCAL_ISSUER, ConsoleSettings, IssuerSettings, KafkaSettings

KAFKA_ADMIN: Final = "admin"
OPERATOR: Final = "operator"
CONSOLES: Final = {"operations": "ops"}
"""Service → the name of its console."""
PROBE_OF: Final = {sector: f"probe-{sector.replace('_', '-')}" for sector in SECTORS}
"""Sector → its probe, by the id of its admission."""


class Installation:
    """What the supervisor knows and tells its processes."""

    def __init__(self, configuration: Configuration, ports: Mapping[str, int]) -> None:
        self.configuration = configuration
        self.ports = ports
        self.secrets = Secrets(configuration.data / "secrets")
        self.certificates = Certificates(configuration.data / "certificates", configuration.cell)
        self.high_water_file = configuration.data / "audit" / "high_water"
        """Up to where the access log has been signed."""
        self.mail_folder = configuration.data / "mail"
        """The mails that the local sink took."""

    def view_hold_file(self, view: str) -> Path:
        """What is locked while a view is emptied; its process waits for it at its start."""
        return self.configuration.data / "views" / view

    def rescale(self, scale: Mapping[str, int], usual_ports: Mapping[str, int]) -> None:
        """Writes down how many processes run, and chooses ports for those that come."""
        ours, named = {*self.ports.values()}, self.configuration.ports

        def is_ours_or_free(port: int) -> bool:
            return port in ours or ports.is_free(port)

        self.ports = ports.choose(usual_ports, named, self.ports, is_ours_or_free)
        self.configuration = configurations.kept(self.configuration, self.ports, scale)

    def check_secrets(self) -> None:
        """Refuses a start on a bad secret file by its name, before anything runs."""
        self.secrets.check()
        self.certificates.check((*SERVICES, OPERATOR))
        servers = self.configuration.kafka, self.configuration.database
        files = [server.password_file for server in servers if server]
        for file in [*files, self.governance_keys_file]:
            if not (file.is_file() and file.read_text().strip()):
                raise bad_secret(file, "is missing or empty")
        try:
            GovernanceKeys.read(self.governance_keys_file.read_bytes())
        except KeysUnreadable:
            raise bad_secret(self.governance_keys_file, "names no two or three keys of governance") from None

    def renew_certificates(self) -> list[str]:
        """New certificates for whoever's has less than half of its life left."""
        return self.certificates.renew((*SERVICES, OPERATOR))

    @property
    def kafka(self) -> KafkaSettings:
        """The brokers and their administrator, be they somebody else's or this machine's own."""
        return self.configuration.kafka or KafkaSettings(
            bootstrap=f"{HOST}:{self.ports['kafka']}",
            user=KAFKA_ADMIN,
            password_file=self.secrets.password_file("kafka", KAFKA_ADMIN),
        )

    @property
    def kafka_admin(self) -> tuple[str, str, str]:
        """The brokers' address, their administrator and its password."""
        return self.kafka.bootstrap, self.kafka.user, self.kafka.password_file.read_text().strip()

    @property
    def server(self) -> DatabaseServer:
        """The database server, as its administrator sees it."""
        return DatabaseServer(self.admin_url())

    def admin_url(self, database: str = "postgres") -> URL:
        """An address of the server's administrator, with the password."""
        server = self.configuration.database or ExternalDatabase(
            url=f"postgresql://{ADMIN}@{HOST}:{self.ports['postgres']}",
            password_file=self.secrets.password_file("database", ADMIN),
        )
        password = server.password_file.read_text().strip()
        return make_url(server.url).set(drivername="postgresql+asyncpg", password=password, database=database)

    def database_url(self, role: str) -> str:
        """A process's address of its own database, without the password."""
        service = next((name for name, roles in FURTHER_ROLES.items() if role in roles), role)
        url = self.admin_url(DATABASES[service].name)
        return URL.create(url.drivername, role, None, url.host, url.port, url.database).render_as_string()

    @property
    def database_passwords(self) -> Mapping[str, str]:
        """The password of every role that may log in."""
        logins = [login for database in DATABASES.values() for login in database.logins]
        return {login: self.secrets.password("database", login) for login in logins}

    def epoch_file(self, service: str) -> Path:
        """Where a service's writer epoch stands beside its database: in no backup."""
        return self.configuration.data / "epochs" / service

    def vault_folder(self, sector: str) -> Path:
        """Where a sector's vault keeps its keys and its ledger: in no backup."""
        return self.configuration.data / "vaults" / sector

    def vault_socket(self, sector: str) -> Path:
        """Where a sector's service, or its vault by that process's name, finds the vault."""
        return self.vault_folder(sector.removesuffix("_vault")) / "vault.socket"

    def log_size_file(self, sector: str) -> Path:
        """Where a sector's service keeps how long the access log was, for a smaller one is an older copy."""
        return self.configuration.data / "log_sizes" / sector

    def internal_url(self, service: str) -> str:
        """Where a service answers other services."""
        return f"https://{HOST}:{self.ports[f'{service}_internal']}"

    def api_url(self, service: str) -> str:
        """Where a service answers agencies."""
        return f"http://{HOST}:{self.ports[f'{service}_api']}"

    @property
    def issuer(self) -> IssuerSettings:
        """Who signs access tokens."""
        return self.configuration.issuer or IssuerSettings(
            name=f"http://{HOST}:{self.ports['issuer_api']}{LOCAL_ISSUER}",
            keys_file=self.secrets.issuer_public_file(),
        )

    def console(self, service: str) -> ConsoleSettings | None:
        """How people reach a service's console; nobody does without an issuer that signs them in."""
        if self.configuration.issuer or self.configuration.console:
            return self.configuration.console
        return ConsoleSettings(
            address=self.api_url(service),
            issuer=self.issuer.name,
            client=service,
            key_file=self.secrets.client_key_file(service),
        )

    @property
    def persons_file(self) -> Path:
        """Who may sign in at the local issuer."""
        return self.configuration.data / "issuer" / "persons.json"

    @property
    def clients_file(self) -> Path:
        """Who may ask the local issuer for tokens, as its port and those of consoles are now."""
        return self.configuration.data / "issuer" / "clients.json"

    @property
    def governance_keys_file(self) -> Path:
        """The public keys, of which two must have signed what is in force."""
        return self.configuration.governance_keys_file or self.secrets.governance_public_file()

    @property
    def holders(self) -> list[Ed25519PrivateKey]:
        """Governance's private keys, where this installation made them itself; others' are never here."""
        return [] if self.configuration.governance_keys_file else self.secrets.governance_keys

    @property
    def is_probed(self) -> bool:
        """Whether it admits probes, between which operations plays referrals."""
        its = self.configuration
        return its.probe and its.mode == "local" and not its.issuer and bool(self.holders)

    @property
    def log_key(self) -> str:
        """What the access log's checkpoints are verified with."""
        return self.log_key_of(self.configuration.log_number)

    def log_key_of(self, number: int) -> str:
        """The same of another log of the year."""
        return self.secrets.verification_key("log", self.configuration.origin_of(number))

    @property
    def permit_key(self) -> str:
        """What permits are verified with."""
        return self.secrets.verification_key("permit", f"{self.configuration.origin}/permit")

    @property
    def mail_server(self) -> MailServer:
        """Where notifications hand in their mail."""
        return self.configuration.smtp or MailServer(
            host=HOST, port=self.ports["mail_sink_smtp"], encryption="none"
        )


def install(configuration: Configuration, usual_ports: Mapping[str, int], say: Say) -> Installation:
    """Makes directories and accounts, chooses ports, and makes secrets and certificates that are missing."""
    make_directory(configuration.data, 0o711)
    make_directory(configuration.logs)
    made = accounts.missing()
    services = accounts.account_of(accounts.SERVICES)
    if made:
        say(f"made the system accounts {', '.join(made)}: without password, shell and home; they stay")
    must_reach(configuration.data, services)
    for name in ("audit", "epochs", "issuer", "log_sizes", "mail", "vaults", "views"):
        accounts.give(services, make_directory(configuration.data / name))
    ports.wait_until_free({**configuration.chosen_ports, **configuration.ports})
    chosen = ports.choose(usual_ports, configuration.ports, configuration.chosen_ports)
    configuration = configurations.kept(configuration, chosen, configuration.scale)
    installation = Installation(configuration, chosen)
    installation.check_secrets()
    installation.renew_certificates()
    for view in VIEWS:
        installation.view_hold_file(view.user).touch(0o644)
    if not configuration.issuer:
        register(installation)
    accounts.let_enter(services, installation.secrets.folder, installation.certificates.folder)
    return installation


def register(installation: Installation) -> None:
    """Tells the local issuer its clients, and begins the file of persons."""
    keys = installation.secrets.client_keys
    clients = [
        Client(id=COMMAND, keys=keys(COMMAND), names_staff=True),
        Client(id=PROBE, keys=keys(PROBE), names_staff=True, agencies=tuple(PROBE_OF.values())),
        *(
            Client(
                id=service,
                keys=keys(service),
                comes_back_to=f"{installation.api_url(service)}{answer_path(console)}",
            )
            for service, console in CONSOLES.items()
        ),
    ]
    write_durably(installation.clients_file, CLIENTS.dump_json(clients))
    if not installation.persons_file.exists():
        write_durably(installation.persons_file, b"{}")
