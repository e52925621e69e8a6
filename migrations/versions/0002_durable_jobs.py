"""Keep accepted jobs until they end, and the answers of durable ones after that."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Constants as defaults, so that no row is rewritten.
    op.add_column("jobs", sa.Column("epoch", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("is_durable", sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.add_column("jobs", sa.Column("answer", sa.Text()))
    op.create_index("jobs_answered_idx", "jobs", ["finished_at"], postgresql_where=sa.text("answer IS NOT NULL"))
    op.create_table(
        "accepted_jobs",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("queue_timeout_ms", sa.Integer(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
    )
    op.create_index("accepted_jobs_user_id_id_idx", "accepted_jobs", ["user_id", "id"])
