"""`/v1/conversations`: the caller's conversations, what was said in them, and their end."""

from http import HTTPStatus

from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath
from litestar.response import Stream

from gateway import paging
from gateway.access import Access
from gateway.admission.limited_routes import LimitByUser
from gateway.conversations.deletion import Deletion
from gateway.conversations.desk import MOST_SEARCHED, ConversationDesk
from gateway.conversations.export import export
from gateway.conversations.schemas import (
    ConversationPage,
    ExportedConversation,
    MessagePage,
    NewConversation,
    Renaming,
)
from gateway.dependencies import Injected
from gateway.operation import Answer, Operation, Parameter
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.request_body import JsonBody
from shared.database.conversations import Conversation
from shared.database.engine import Database
from shared.errors import InvalidRequestError, NotFoundError, StoreUnavailableError

_new = JsonBody(NewConversation)
_renaming = JsonBody(Renaming)


@post(
    "/",
    summary="Begin a conversation",
    access=Access.CONVERSATIONS,
    operation=Operation(
        body=NewConversation,
        answers={HTTPStatus.CREATED: Answer("The conversation.", Conversation, headers=["Location"])},
        errors=[StoreUnavailableError],
    ),
)
async def create_conversation(
    request: AuthenticatedRequest, conversations: Injected[ConversationDesk]
) -> Response[Conversation]:
    """Return a new conversation, in which nothing was said yet; `POST /v1/chat` with its id says something.

    Without a title, the first message gives it one.
    """
    wanted = await _new.read(request)
    made = await conversations.create(request.user.user_id, title=wanted.title)
    return Response(made, headers={"Location": f"/v1/conversations/{made.id}"})


@get(
    "/",
    summary="List or search the caller's conversations",
    access=Access.CONVERSATIONS,
    operation=Operation(
        errors=[InvalidRequestError, StoreUnavailableError],
        parameters=[
            Parameter(
                "q",
                "query",
                f"Only those with these words in their title or in one of their messages: at most {MOST_SEARCHED} "
                'characters; all of the words, `or`, `-without`, `"as a phrase"`, in any language.',
            ),
            *paging.PARAMETERS,
        ],
    ),
)
async def list_conversations(
    request: AuthenticatedRequest, conversations: Injected[ConversationDesk]
) -> ConversationPage:
    """Return the caller's conversations, the last active one first.

    Words are looked for as they are written, whatever the language: in the first 32,768 characters of a message, and in
    65,536 of what one request has said, the last messages first.
    """
    return await conversations.page(request.query_params, user_id=request.user.user_id)


@get(
    "/{conversation_id:str}",
    summary="Show a conversation",
    access=Access.CONVERSATIONS,
    operation=Operation(errors=[NotFoundError, StoreUnavailableError]),
)
async def show_conversation(
    request: AuthenticatedRequest, conversation_id: FromPath[str], conversations: Injected[ConversationDesk]
) -> Conversation:
    """Return a conversation of the caller; while a job is to answer in it, that is its `job_id`."""
    return await conversations.find(conversation_id, user_id=request.user.user_id)


@patch(
    "/{conversation_id:str}",
    summary="Rename a conversation",
    access=Access.CONVERSATIONS,
    operation=Operation(body=Renaming, errors=[NotFoundError, StoreUnavailableError]),
)
async def rename_conversation(
    request: AuthenticatedRequest, conversation_id: FromPath[str], conversations: Injected[ConversationDesk]
) -> Conversation:
    """Return the conversation with its new title."""
    wanted = await _renaming.read(request)
    return await conversations.rename(conversation_id, user_id=request.user.user_id, title=wanted.title)


@delete(
    "/{conversation_id:str}",
    summary="Delete a conversation",
    access=Access.CONVERSATIONS,
    operation=Operation(
        answers={HTTPStatus.NO_CONTENT: Answer("It is gone.")}, errors=[NotFoundError, StoreUnavailableError]
    ),
)
async def delete_conversation(
    request: AuthenticatedRequest, conversation_id: FromPath[str], deletion: Injected[Deletion]
) -> None:
    """Delete a conversation with its messages and what its jobs have answered; one that is under way is cancelled.

    The end of that one's stream can still be read for ten seconds.
    """
    await deletion.delete(conversation_id, user_id=request.user.user_id)


@get(
    "/{conversation_id:str}/messages",
    summary="List what was said in a conversation",
    access=Access.CONVERSATIONS,
    operation=Operation(
        errors=[NotFoundError, InvalidRequestError, StoreUnavailableError], parameters=paging.PARAMETERS
    ),
)
async def list_messages(
    request: AuthenticatedRequest, conversation_id: FromPath[str], conversations: Injected[ConversationDesk]
) -> MessagePage:
    """Return what was said, in order. A page has fewer messages than `limit` where they are large.

    A reply is there when its job has ended, however that was: `status` says whether it is whole.
    """
    return await conversations.messages(conversation_id, request.query_params, user_id=request.user.user_id)


@get(
    "/{conversation_id:str}/export",
    summary="Export a conversation",
    access=Access.CONVERSATIONS,
    operation=Operation(
        answers={
            HTTPStatus.OK: Answer("The conversation, as a file.", ExportedConversation, headers=["Content-Disposition"])
        },
        errors=[NotFoundError, StoreUnavailableError],
    ),
)
async def export_conversation(
    request: AuthenticatedRequest,
    conversation_id: FromPath[str],
    conversations: Injected[ConversationDesk],
    database: Injected[Database],
) -> Stream:
    """Return everything that was said as one JSON document; it breaks off if the conversation is deleted meanwhile."""
    conversation = await conversations.find(conversation_id, user_id=request.user.user_id)
    return Stream(
        export(database, conversation),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="conversation-{conversation.id}.json"'},
    )


conversation_routes = Router(
    "/v1/conversations",
    route_handlers=[
        create_conversation,
        list_conversations,
        show_conversation,
        rename_conversation,
        delete_conversation,
        list_messages,
        export_conversation,
    ],
    middleware=[RequirePrincipal, LimitByUser],
    tags=["conversations"],
)
