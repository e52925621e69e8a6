"""The tables as SQLAlchemy sees them; the migrations bring PostgreSQL to the same, which a test checks."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("email", Text, nullable=False, unique=True),  # lower case: gateway/accounts/schemas.py normalises
    Column("password_hash", Text, nullable=False),  # Argon2id with its parameters, as argon2-cffi writes it
    Column("role", Text, CheckConstraint("role IN ('user', 'admin')", name="role"), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("disabled_at", DateTime(timezone=True)),  # since when nothing is let in any more; NULL: in good standing
    Column("limits", JSONB, nullable=False, server_default=text("'{}'")),  # what differs from the settings
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("user_id", Uuid(as_uuid=False), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("generation", Integer, nullable=False, server_default=text("1")),  # of the refresh token that is good
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("refreshed_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    Index("sessions_user_id_idx", "user_id"),
    Index("sessions_expires_at_idx", "expires_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("user_id", Uuid(as_uuid=False), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),  # the beginning of the key, by which its owner knows it
    Column("digest", LargeBinary, nullable=False, unique=True),  # of the key, which is stored nowhere
    Column("scopes", ARRAY(Text), nullable=False),
    Column("models", ARRAY(Text)),  # NULL: all
    Column("limits", JSONB, nullable=False, server_default=text("'{}'")),  # where they are lower than the owner's
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("expires_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Index("api_keys_user_id_id_idx", "user_id", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("user_id", Uuid(as_uuid=False), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("status", Text, nullable=False),  # how it ended
    Column("error_code", Text),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("queue_ms", Integer, nullable=False),
    Column("first_token_ms", Integer),  # NULL: nothing was answered
    Column("total_ms", Integer, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("worker", Text),  # NULL: no worker ever had it
    Column("request_id", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=False),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),  # of who ended it: the highest is right
    Column("is_durable", Boolean, nullable=False, server_default=text("false")),
    Column("api_key_id", Uuid(as_uuid=False)),  # that asked for it, and may be gone by now; NULL: a session did
    Column("answer", Text),  # JSON of shared/transcripts.py; NULL: none is kept (any more)
    Index("jobs_user_id_created_at_idx", "user_id", "created_at"),
    Index("jobs_answered_idx", "finished_at", postgresql_where=text("answer IS NOT NULL")),
)

accepted_jobs = Table(
    "accepted_jobs",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("user_id", Uuid(as_uuid=False), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("model", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # the job as in Redis (shared/jobs.py), prompt included
    Column("queue_timeout_ms", Integer, nullable=False),
    Column("accepted_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("idempotency_key", Text),  # in Redis, as in shared/idempotency.py; NULL: the job has none
    Column("fingerprint", Text),  # of the request, with that key
    Column(  # in which it answers, one job at a time; NULL: in none
        "conversation_id", Uuid(as_uuid=False), ForeignKey("conversations.id", ondelete="CASCADE"), unique=True
    ),
    Index("accepted_jobs_user_id_id_idx", "user_id", "id"),
)

# Indexed with its user's id, so that a search reads nothing of other users' words: docs/decisions/0017-search.md
conversations = Table(
    "conversations",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("user_id", Uuid(as_uuid=False), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("title", Text),  # NULL: nothing was said yet that could be one
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),  # of the last activity
    Column("search", TSVECTOR, Computed("to_tsvector('simple'::regconfig, coalesce(title, ''))", persisted=True)),
    Index("conversations_user_id_updated_at_id_idx", "user_id", "updated_at", "id"),
    Index(
        "conversations_search_idx",
        text("(ARRAY[user_id])"),
        "search",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    ),
)

messages = Table(
    "messages",
    metadata,
    Column(
        "conversation_id", Uuid(as_uuid=False), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("position", Integer, primary_key=True),  # in the conversation, from 1
    Column("id", Uuid(as_uuid=False), nullable=False),
    Column("user_id", Uuid(as_uuid=False), nullable=False),  # of the conversation, for the index
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("parts", Text),  # JSON of shared/database/messages.py; NULL: it has nothing but its content
    Column("status", Text, nullable=False),
    Column("job_id", Uuid(as_uuid=False), unique=True),  # that it is the reply of; NULL: the client said it
    Column("model", Text),  # that said it; NULL: the client did
    Column("error_code", Text),  # of a reply; NULL: it is whole
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("searched", Integer, nullable=False),  # so many characters of the content are found by their words
    Column("search", TSVECTOR, Computed("to_tsvector('simple'::regconfig, left(content, searched))", persisted=True)),
    Index(
        "messages_search_idx",
        text("(ARRAY[user_id])"),
        "search",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    ),
)
