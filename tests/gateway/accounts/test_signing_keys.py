import jwt
import pytest

from gateway.accounts.signing_keys import SigningKeys, temporary_secret
from shared.errors import UnauthenticatedError

OLD, NEW, OTHER = (name * 32 for name in "ONX")


def read(keys: SigningKeys, token: str, kind: str = "access") -> object:
    return keys.read(token, kind, required=["sub"])["sub"]


def test_what_was_signed_by_the_secret_before_is_accepted_and_signed_no_more() -> None:
    rotated = SigningKeys(NEW, previous=OLD)
    old, new = (SigningKeys(secret).sign("access", {"sub": "ada"}) for secret in (OLD, NEW))

    assert (read(rotated, old), read(rotated, new)) == ("ada", "ada")
    assert read(SigningKeys(NEW), rotated.sign("access", {"sub": "bob"})) == "bob"


def test_a_secret_that_is_to_come_is_accepted_as_well() -> None:
    """Else the gateways that are restarted last refuse what the first ones sign."""
    prepared = SigningKeys(OLD, previous=NEW)

    assert read(prepared, SigningKeys(NEW, previous=OLD).sign("access", {"sub": "ada"})) == "ada"
    assert read(SigningKeys(OLD), prepared.sign("access", {"sub": "ada"})) == "ada"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(SigningKeys(OLD).sign("access", {"sub": "ada"}), id="by the secret that is accepted no more"),
        pytest.param(SigningKeys(NEW).sign("stream", {"sub": "ada"}), id="for another purpose"),
        pytest.param(SigningKeys(NEW).sign("access", {}), id="without a claim"),
        pytest.param(jwt.encode({"aud": "deepersensor", "typ": "access", "sub": "ada"}, NEW), id="without kid"),
        pytest.param("e30.e30.e30", id="made up"),
    ],
)
def test_everything_else_is_refused(token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        read(SigningKeys(NEW, previous=OTHER), token)


def test_a_token_names_a_secret_that_did_not_sign_it_in_vain() -> None:
    kid = jwt.get_unverified_header(SigningKeys(OLD).sign("access", {"sub": "ada"}))["kid"]
    claims = {"aud": "deepersensor", "typ": "access", "sub": "ada"}
    with pytest.raises(UnauthenticatedError):
        read(SigningKeys(NEW, previous=OLD), jwt.encode(claims, NEW, headers={"kid": kid}))


def test_derived_keys_are_of_both_secrets_and_for_one_purpose() -> None:
    (new,), (old,) = SigningKeys(NEW).derived("a"), SigningKeys(OLD).derived("a")

    assert SigningKeys(NEW, previous=OLD).derived("a") == (new, old)
    assert SigningKeys(OLD, previous=NEW).derived("a") == (old, new)
    assert SigningKeys(NEW).derived("b") != (new,)
    assert new != NEW.encode()


def test_no_secret_shows() -> None:
    assert NEW not in repr(SigningKeys(NEW, previous=NEW))


def test_every_temporary_secret_is_new_and_strong(caplog: pytest.LogCaptureFixture) -> None:
    secret = temporary_secret()
    assert len(secret.encode()) >= 32
    assert secret != temporary_secret()
    assert "temporary_jwt_secret_made" in caplog.text
    assert secret not in caplog.text
