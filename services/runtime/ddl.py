"""Plain SQL in migrations: a script of several statements, run within the migration's one transaction."""

from alembic import op


def service() -> str:
    """The service whose database is being migrated; also its login role."""
    config = op.get_context().config
    assert config is not None  # noqa: S101  services.runtime.migrate always hands one over
    return str(config.attributes["service"])


def script(sql: str) -> None:
    """Run a script; `{role}` in it stands for the service's login role."""
    text = sql.replace("{role}", f'"{service()}"')
    connection = op.get_bind().connection.dbapi_connection
    assert connection is not None  # noqa: S101  a migration runs on an open connection
    connection.run_async(lambda driver: driver.execute(text))
