"""What Alembic runs for every command; the connection comes from upgrade.py."""

from alembic import context

from shared.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
