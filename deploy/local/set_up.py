"""What a start makes before any part runs: directories, ports, secrets, certificates."""

from deploy.local import configuration as configurations
from deploy.local import ports
from deploy.local.certificates import Certificates
from deploy.local.configuration import Configuration
from deploy.local.installation import Installation
from deploy.local.places import make_directory
from deploy.local.processes import OPERATOR, usual_ports
from deploy.local.secrets import Secrets
from schemas.topics import SERVICES


def install(configuration: Configuration) -> Installation:
    """Makes directories, chooses ports, and makes secrets and certificates that are missing."""
    make_directory(configuration.data, 0o711)
    for folder in (configuration.logs, configuration.data / "audit"):
        make_directory(folder)
    usual = usual_ports()
    ports.wait_until_free({**configuration.chosen_ports, **configuration.ports})
    chosen = ports.choose(usual, configuration.ports, configuration.chosen_ports)
    configuration = configuration.with_ports(chosen)
    configurations.write(configuration)
    secrets = Secrets(configuration.data / "secrets")
    certificates = Certificates(configuration.data / "certificates", configuration.cell)
    installation = Installation(configuration, chosen, secrets, certificates)
    renew_certificates(installation)
    return installation


def renew_certificates(installation: Installation) -> list[str]:
    """New certificates for whoever's has less than half of its life left."""
    return installation.certificates.renew((*SERVICES, OPERATOR))
