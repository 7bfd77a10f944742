"""What Alembic runs: the migrations on the connection that it was given."""

from alembic import context

from cogwork.records.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table="cogwork_revision",
    render_as_batch=True,
)
context.run_migrations()
