"""Keep the idempotency keys of accepted jobs, so that they come back with the jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("accepted_jobs", sa.Column("idempotency_key", sa.Text()))
    op.add_column("accepted_jobs", sa.Column("fingerprint", sa.Text()))
