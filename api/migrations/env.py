"""Alembic's entry: runs the migrations on the connection that `api.records.db.Database` hands over."""

from alembic import context

from api.records.tables import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
context.run_migrations()
