"""What Alembic runs: the versions not yet applied, in one transaction each, on the connection that it is given."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="current_version",
    version_table_schema="maia_meta",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
