"""Which process of a sector this is: `python -m services.<sector> run|migrate|openapi|vault`."""

import sys

from services.sector.domain.profile import Profile


def run_sector(profile: Profile) -> None:
    """Run the process that the command line names; the vault's loads no driver and no server."""
    if sys.argv[1:] == ["vault"]:
        from services.sector.vault.process import run_vault

        run_vault(profile.name)
    else:
        from services.sector.wiring import run_service

        run_service(profile)
