"""Keep conversations: what was said in them, in order, and found again by its words."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column(
            "search", TSVECTOR(), sa.Computed("to_tsvector('simple'::regconfig, coalesce(title, ''))", persisted=True)
        ),
    )
    op.create_index("conversations_user_id_updated_at_id_idx", "conversations", ["user_id", "updated_at", "id"])
    op.create_table(
        "messages",
        sa.Column(
            "conversation_id", sa.Uuid(), sa.ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("parts", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), unique=True),
        sa.Column("model", sa.Text()),
        sa.Column("error_code", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("searched", sa.Integer(), nullable=False),
        sa.Column(
            "search",
            TSVECTOR(),
            sa.Computed("to_tsvector('simple'::regconfig, left(content, searched))", persisted=True),
        ),
    )
    for table in ("conversations", "messages"):
        op.create_index(
            f"{table}_search_idx",
            table,
            [sa.text("(ARRAY[user_id])"), "search"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
    op.add_column(
        "accepted_jobs",
        sa.Column("conversation_id", sa.Uuid(), sa.ForeignKey("conversations.id", ondelete="CASCADE"), unique=True),
    )
