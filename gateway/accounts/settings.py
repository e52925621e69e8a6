"""Who may sign up, and how their tokens are signed."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.settings import SECRET, SettingsError

JWT_SECRET_MIN_BYTES = 32  # HS256 wants a key as long as its digest (RFC 7518, 3.2)


class AccountSettings(Struct, frozen=True):
    """Who may sign up, and how their tokens are signed."""

    jwt_secret: Annotated[
        str,
        Meta(
            extra=SECRET,
            description="Signs access tokens; at least 32 bytes, the same for all gateways. Unset: one per process.",
            examples=["$(openssl rand -hex 32)"],
        ),
    ] = ""
    jwt_secret_previous: Annotated[
        str,
        Meta(
            extra=SECRET,
            description="Is accepted besides, while the secret is changed; at least 32 bytes. Unset: none.",
            examples=["$(openssl rand -hex 32)"],
        ),
    ] = ""
    jwt_issuer: Annotated[str, Meta(min_length=1, description="`iss` of access tokens.", examples=["deepersensor"])] = (
        "deepersensor"
    )
    jwt_access_ttl_secs: Annotated[
        int, Meta(ge=60, le=86_400, description="An access token is valid this long.", examples=["3600"])
    ] = 3600
    jwt_refresh_ttl_secs: Annotated[
        int,
        Meta(
            ge=60,
            le=31_536_000,
            description="A session ends this long after it was last refreshed.",
            examples=["2592000"],
        ),
    ] = 2_592_000
    login_failures_per_account: Annotated[
        int, Meta(ge=1, le=100, description="Wrong passwords of an account until it has to wait.", examples=["5"])
    ] = 5
    login_failures_per_address: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="Wrong ones from an address, and logins at once.", examples=["20"]),
    ] = 20
    login_delay_max_secs: Annotated[
        int, Meta(ge=1, le=3600, description="Longest wait after wrong passwords.", examples=["300"])
    ] = 300
    api_key_secret: Annotated[
        str,
        Meta(
            description="Digests of API keys are made with it; at least 32 bytes. A new one ends all keys there are.",
            examples=["$(openssl rand -hex 32)"],
            extra=SECRET,
        ),
    ] = ""
    models_require_auth: Annotated[
        bool, Meta(description="Whether the list of models is for users alone.", examples=["true"])
    ] = False
    signup_mode: Annotated[
        Literal["open", "closed"], Meta(description="Whether anybody may sign up.", examples=["closed"])
    ] = "open"
    password_min_length: Annotated[
        int, Meta(ge=8, le=128, description="Shortest password in characters (NIST SP 800-63B-4).", examples=["15"])
    ] = 15

    def check(self, *, production: bool) -> None:
        """Accept secrets that may sign; outside production also none, in place of which one is made at start.

        Raises:
            SettingsError: A secret is too short, or missing in production; or sessions end before their access tokens.

        """
        if self.jwt_refresh_ttl_secs < self.jwt_access_ttl_secs:
            raise SettingsError(
                f"JWT_REFRESH_TTL_SECS is wrong: expected at least JWT_ACCESS_TTL_SECS, {self.jwt_access_ttl_secs}. "
                "Example: JWT_REFRESH_TTL_SECS=2592000"
            )
        _check_secret("JWT_SECRET", self.jwt_secret, may_be_missing=not production)
        _check_secret("JWT_SECRET_PREVIOUS", self.jwt_secret_previous, may_be_missing=True)
        _check_secret("API_KEY_SECRET", self.api_key_secret, may_be_missing=True)


def _check_secret(variable: str, secret: str, *, may_be_missing: bool) -> None:
    size = len(secret.encode())
    if size >= JWT_SECRET_MIN_BYTES or (size == 0 and may_be_missing):
        return
    fault = f"has {size} bytes, needs at least {JWT_SECRET_MIN_BYTES}" if size else "is not set"
    raise SettingsError(f"{variable} {fault}. Example: {variable}=$(openssl rand -hex 32)")
