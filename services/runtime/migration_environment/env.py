"""Alembic's environment: the connection is handed over, already acting as the owner role."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
