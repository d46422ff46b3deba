"""What Alembic runs: all steps in the one transaction of the connection it is given."""

from alembic import context

from monitor.history.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
