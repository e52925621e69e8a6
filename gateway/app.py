"""Puts the gateway together: the routes of every feature, inside the layers that every request passes."""

from socket import socket

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ASGIApp

from gateway.access import check_declared
from gateway.accounts.routes import account_routes
from gateway.api_keys.routes import api_key_routes
from gateway.chat.routes import chat_routes, stream_routes
from gateway.client_address import ClientAddress
from gateway.conversations.routes import conversation_routes
from gateway.cross_origin import CrossOrigin
from gateway.dependencies import provide_fields
from gateway.draining import Draining
from gateway.error_responses import EXCEPTION_HANDLERS
from gateway.health.routes import health_routes
from gateway.lifespan import lifespan
from gateway.metrics.declared import Metrics
from gateway.metrics.refusals import count_refusal
from gateway.metrics.routes import metrics_routes
from gateway.models.routes import model_routes
from gateway.ollama_api.embedding_routes import ollama_embedding_routes
from gateway.ollama_api.greeting import ollama_greeting_routes
from gateway.ollama_api.model_routes import ollama_model_routes
from gateway.ollama_api.refused_routes import ollama_refused_routes
from gateway.ollama_api.routes import ollama_routes
from gateway.openai_api.embedding_routes import openai_embedding_routes
from gateway.openai_api.model_routes import openai_model_routes
from gateway.openai_api.routes import openai_routes
from gateway.request_log import RequestLog
from gateway.request_target import check_target
from gateway.response_headers import ResponseHeaders
from gateway.schema import schema_routes
from gateway.secure_transport import RequireHttps
from gateway.settings import GatewaySettings
from gateway.state import GatewayState
from gateway.usage.routes import usage_routes
from shared.clock import SystemClock


def create_app(settings: GatewaySettings, *, draining: Draining, metrics_listener: socket | None = None) -> ASGIApp:
    """Return the gateway as one ASGI application. Nothing is opened before its lifespan starts.

    Args:
        settings: What the process is told from outside.
        draining: Begins when the process is told to stop.
        metrics_listener: Where metrics are served by themselves.

    """
    server = settings.server
    metrics = Metrics()
    routes: ASGIApp = create_routes(settings, metrics, draining, metrics_listener)
    if settings.cross_origin.origins:
        routes = CrossOrigin(routes, settings.cross_origin, request_id_header=server.request_id_header)
    client_address = ClientAddress(server.trusted_proxy_ips)
    if server.force_https:
        routes = RequireHttps(routes, client_address)
    logged = RequestLog(routes, metrics=metrics, client_address=client_address, clock=SystemClock())
    return ResponseHeaders(logged, request_id_header=server.request_id_header)


def create_routes(
    settings: GatewaySettings, metrics: Metrics, draining: Draining, metrics_listener: socket | None = None
) -> Litestar:
    """Return what `create_app` wraps: routing, dependencies and error answers."""
    app = Litestar(
        route_handlers=[
            health_routes,
            account_routes,
            api_key_routes,
            model_routes,
            usage_routes,
            chat_routes,
            stream_routes,
            conversation_routes,
            openai_routes,
            openai_model_routes,
            openai_embedding_routes,
            ollama_model_routes,
            ollama_embedding_routes,
            ollama_routes,
            ollama_refused_routes,
            ollama_greeting_routes,
            *([metrics_routes(settings.metrics.metrics_token)] if settings.metrics.beside_the_api else []),
            *([schema_routes] if settings.server.schema_enabled else []),
        ],
        dependencies=provide_fields(GatewayState),
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[lifespan],
        before_request=check_target,
        after_exception=[count_refusal],
        state=State(
            {"settings": settings, "metrics": metrics, "draining": draining, "metrics_listener": metrics_listener}
        ),
        openapi_config=None,  # schema.py writes the document
        logging_config=None,  # ours is set up once for all roles, and tracebacks are logged with the answer
        request_max_body_size=None,  # request_body.py bounds and reads bodies
    )
    check_declared(app.routes)
    return app
