import jwt
import pytest

from gateway.accounts.access_tokens import AccessTokens
from gateway.accounts.signing_keys import SigningKeys
from shared.clock import SystemClock
from shared.errors import UnauthenticatedError
from shared.ids import new_id
from tests.clocks import TurnedClock

SECRET = "a secret of the tests, longer than 32 bytes"
USER_ID = new_id()
SESSION_ID = new_id()


def tokens(secret: str = SECRET, *, issuer: str = "deepersensor", turned_by_s: int = 0) -> AccessTokens:
    return AccessTokens(keys=SigningKeys(secret), issuer=issuer, ttl_s=600, clock=TurnedClock(turned_by_s))


def issue(*, turned_by_s: int = 0) -> str:
    return tokens(turned_by_s=turned_by_s).issue(USER_ID, session_id=SESSION_ID)


def forge(secret: str = SECRET, *, headers: dict[str, str] | None = None, without: str = "", **changes: object) -> str:
    """A token as ours, with some claims changed or left out."""
    token = issue()
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    claims.pop(without, None)
    return jwt.encode(claims, secret, headers={"kid": jwt.get_unverified_header(token)["kid"]} | (headers or {}))


def test_a_token_names_its_user_and_session_and_when_it_expires() -> None:
    claims = tokens().verify(issue())
    assert (claims.user_id, claims.session_id) == (USER_ID, SESSION_ID)
    assert 590 < claims.expires_s - SystemClock().now_ms() / 1000 <= 600


def test_no_two_tokens_are_alike() -> None:
    assert issue() != issue()


def test_a_token_holds_all_registered_claims_and_nothing_about_the_user() -> None:
    token = issue()
    assert set(jwt.decode(token, options={"verify_signature": False})) == {
        "iss", "aud", "sub", "iat", "nbf", "exp", "jti", "typ", "sid",
    }  # fmt: skip
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param("x.y.z", id="no JWT"),
        pytest.param("x" * 100_000, id="very long"),
        pytest.param(forge(secret="another secret, as long as the first one"), id="signed by somebody else"),
        pytest.param(forge() + "A", id="a changed signature"),
        pytest.param(forge(headers={"kid": "00000000"}), id="another key"),
        pytest.param(forge(iss="somebody"), id="another issuer"),
        pytest.param(forge(aud="somewhere"), id="another audience"),
        pytest.param(forge(typ="refresh"), id="another kind of token"),
        pytest.param(forge(sub="ada"), id="a user id that is none"),
        pytest.param(forge(sid="ada"), id="a session id that is none"),
        pytest.param(forge(sid=7), id="a session id that is no text"),
        pytest.param(forge(exp=1), id="expired"),
        pytest.param(forge(nbf=2**33), id="not valid yet"),
        pytest.param(forge(iat=2**33), id="issued in the future"),
        pytest.param(forge(exp="never"), id="an end that is no number"),
        *(
            pytest.param(forge(without=name), id=f"without {name}")
            for name in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "typ", "sid"]
        ),
    ],
)
def test_anything_else_is_not_valid(token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        tokens().verify(token)


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_no_other_algorithm_is_accepted(algorithm: str) -> None:
    key = None if algorithm == "none" else SECRET * 2
    claims = jwt.decode(issue(), options={"verify_signature": False})
    header = {"kid": jwt.get_unverified_header(issue())["kid"]}
    with pytest.raises(UnauthenticatedError):
        tokens(SECRET * 2 if key else SECRET).verify(jwt.encode(claims, key, algorithm=algorithm, headers=header))  # pyright: ignore[reportArgumentType]  None is for "none"


def test_a_token_expires() -> None:
    old = issue(turned_by_s=-606)
    with pytest.raises(UnauthenticatedError, match="expired"):
        tokens().verify(old)


def test_clocks_may_differ_by_seconds() -> None:
    tokens().verify(issue(turned_by_s=4))
