"""Programs from packages; copied once outside private homes where a part's account cannot reach them."""

import os
import shutil
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from deploy.local.accounts import Account
from deploy.local.places import can_reach, make_directory, must_reach
from deploy.local.refusals import CannotRun


def reachable(module: str, program: Path, cache: Path, account: Account | None) -> Path:
    """A program of a package, or of its copy with all of its folder."""
    spec = find_spec(module)  # without importing it
    if not spec or not spec.origin:
        raise CannotRun("missing_package", f"The package of {module} is not installed.")
    package = Path(spec.origin).resolve().parent
    if account is None or can_reach(package / program, account):
        return package / program
    distribution = packages_distributions()[module][0]
    copy = make_directory(cache, 0o755) / f"{distribution}-{version(distribution)}"
    if not copy.exists():
        _copy(package, program.parts[0], copy)
    must_reach(copy, account)
    return copy / package.name / program


def _copy(package: Path, folder: str, copy: Path) -> None:
    """Copies programs and the libraries that they look for beside the package."""
    fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
    for name in (f"{package.name}/{folder}", f"{package.name}.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, fresh / name, symlinks=True)
    for path in (fresh, *(each for each in fresh.rglob("*") if not each.is_symlink())):
        mode = path.stat().st_mode
        path.chmod(mode | (0o055 if mode & 0o100 else 0o044))
    try:
        fresh.rename(copy)
    except OSError:  # another start was quicker, and its copy is as good
        shutil.rmtree(fresh, ignore_errors=True)
        if not copy.exists():
            raise
