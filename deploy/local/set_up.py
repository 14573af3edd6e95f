"""What a start makes before any part runs: directories, ports, secrets, certificates."""

from deploy.local import accounts, ports
from deploy.local import configuration as configurations
from deploy.local.certificates import Certificates
from deploy.local.configuration import Configuration
from deploy.local.installation import Installation
from deploy.local.places import make_directory, must_reach
from deploy.local.processes import OPERATOR, usual_ports
from deploy.local.secrets import Secrets
from deploy.local.subprocesses import Say, silence
from deploy.local.sums import bad_secret
from schemas.topics import SERVICES


def install(configuration: Configuration, say: Say = silence) -> Installation:
    """Makes directories and accounts, chooses ports, and makes secrets and certificates that are missing."""
    make_directory(configuration.data, 0o711)
    make_directory(configuration.logs)
    made = accounts.missing()
    services = accounts.account_of(accounts.SERVICES)
    if made:
        say(f"made the system accounts {', '.join(made)}: without password, shell and home; they stay")
    must_reach(configuration.data, services)
    for name in ("audit", "mail"):
        accounts.give(services, make_directory(configuration.data / name))
    usual = usual_ports()
    ports.wait_until_free({**configuration.chosen_ports, **configuration.ports})
    chosen = ports.choose(usual, configuration.ports, configuration.chosen_ports)
    configuration = configuration.with_ports(chosen)
    configurations.write(configuration)
    secrets = Secrets(configuration.data / "secrets")
    certificates = Certificates(configuration.data / "certificates", configuration.cell)
    installation = Installation(configuration, chosen, secrets, certificates)
    check_secrets(installation)
    renew_certificates(installation)
    accounts.let_enter(services, secrets.folder, certificates.folder)
    return installation


def check_secrets(installation: Installation) -> None:
    """Refuses a start on a bad secret file by its name, before anything runs."""
    configuration = installation.configuration
    installation.secrets.check()
    installation.certificates.check((*SERVICES, OPERATOR))
    for outside in (configuration.kafka, configuration.database):
        if outside and not (outside.password_file.is_file() and outside.password_file.read_text().strip()):
            raise bad_secret(outside.password_file, "is missing or empty")


def renew_certificates(installation: Installation) -> list[str]:
    """New certificates for whoever's has less than half of its life left."""
    return installation.certificates.renew((*SERVICES, OPERATOR))
