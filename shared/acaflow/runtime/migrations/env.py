"""Alembic's entry point: `schema.upgrade` hands its connection over in the configuration."""

from alembic import context

from acaflow.runtime.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
