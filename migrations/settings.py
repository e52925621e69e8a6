"""What the step that brings the schema up to date can be told, beside where PostgreSQL is."""

from typing import Annotated

from msgspec import Meta, Struct

from shared.settings import DatabaseUrl


class RoleSettings(Struct, frozen=True):
    """Whom `deepersensor migrate` lets work in the database; unset, everybody is its owner."""

    gateway_database_url: Annotated[
        DatabaseUrl,
        Meta(
            description="What gateways have as DATABASE_URL; its role is made and gets what a gateway needs.",
            examples=["postgresql://deepersensor_gateway:secret@127.0.0.1:5432/deepersensor"],
        ),
    ] = ""
    worker_database_url: Annotated[
        DatabaseUrl,
        Meta(
            description="What workers have as DATABASE_URL; its role is made and gets what a worker needs.",
            examples=["postgresql://deepersensor_worker:secret@127.0.0.1:5432/deepersensor"],
        ),
    ] = ""
