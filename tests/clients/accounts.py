"""Users and keys, made as people make them, at the gateway that limits nobody."""

import secrets

import httpx

from tests.clients.offer import Offer

_HANG_S = 30.0  # a limit for hanging, not an expectation


def newcomer(offer: Offer) -> str:
    """Return the access token of a user who has done nothing yet."""
    credentials = {"email": f"{secrets.token_hex(8)}@example.org", "password": secrets.token_hex(16)}
    with _http(offer) as http:
        http.post("/v1/auth/signup", json=credentials).raise_for_status()
        return http.post("/v1/auth/login", json=credentials).raise_for_status().json()["access_token"]


def new_key(offer: Offer, **fields: object) -> str:
    """Return another API key of the offer's user."""
    with _http(offer) as http:
        made = http.post(
            "/v1/api-keys",
            json={"name": "program", **fields},
            headers={"Authorization": f"Bearer {offer.access_token}"},
        )
        return made.raise_for_status().json()["key"]


def _http(offer: Offer) -> httpx.Client:
    return httpx.Client(base_url=offer.url, timeout=_HANG_S, trust_env=False)
