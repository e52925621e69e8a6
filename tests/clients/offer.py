"""What the product's process (tests/clients/product.py) tells the tests, which run in another environment."""

from msgspec import Struct


class Offer(Struct, frozen=True):
    """A running product, and who may ask it what."""

    url: str  # a gateway that limits nobody, and that pages of any origin may use: see `OPEN`
    strict_url: str  # another that does limit: see `STRICT`
    double_url: str  # the double of Ollama, which listens for what it is to do
    models: list[str]  # what its worker has: one is README's, and one has slashes in its name
    orphan: str  # a model that is known, and that no worker has any more
    access_token: str  # of a user
    api_key: str  # of the same user, for everything
    node: str  # the path of Node, which that environment has


OPEN = {"allowed_origins": "*"}
STRICT = {
    "allowed_origins": "*",
    "rate_limit_enabled": True,
    "rate_limit_requests_per_minute": 60,
    "rate_limit_burst": 1,  # so that the second request has to wait for a second
    "rate_limit_address_requests_per_minute": 100_000,
    "queue_without_workers": False,
}
