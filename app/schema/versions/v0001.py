"""The first schema."""

from app.schema.apply import version

revision = "0001"
down_revision = None


def upgrade() -> None:
    version(revision)
