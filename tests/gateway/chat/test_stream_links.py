import pytest

from gateway.accounts.signing_keys import SigningKeys
from gateway.chat.stream_links import StreamLinks
from shared.credential import Credential, CredentialKind
from shared.errors import UnauthenticatedError
from shared.ids import new_id
from tests.clocks import TurnedClock

OLD, NEW = "O" * 32, "N" * 32
JOB_ID = new_id()
CREDENTIAL = Credential(CredentialKind.SESSION, new_id())


def links(keys: SigningKeys, *, turned_by_s: int = 0) -> StreamLinks:
    return StreamLinks(keys=keys, public_url="http://localhost", valid_s=600, clock=TurnedClock(turned_by_s))


def token_of(link: str) -> str:
    return link.partition("?token=")[2]


def test_a_link_names_whose_it_is() -> None:
    link = links(SigningKeys(NEW)).to(JOB_ID, credential=CREDENTIAL)

    assert link.startswith(f"http://localhost/v1/chat/{JOB_ID}/stream?token=")
    assert links(SigningKeys(NEW)).verify(token_of(link), job_id=JOB_ID) == CREDENTIAL


def test_a_link_outlives_the_secret_that_signed_it_while_that_is_accepted() -> None:
    token = token_of(links(SigningKeys(OLD)).to(JOB_ID, credential=CREDENTIAL))

    assert links(SigningKeys(NEW, previous=OLD)).verify(token, job_id=JOB_ID) == CREDENTIAL
    with pytest.raises(UnauthenticatedError):
        links(SigningKeys(NEW)).verify(token, job_id=JOB_ID)


def test_a_link_is_good_for_one_job_and_for_a_while() -> None:
    token = token_of(links(SigningKeys(NEW), turned_by_s=-601).to(JOB_ID, credential=CREDENTIAL))

    with pytest.raises(UnauthenticatedError, match="expired"):
        links(SigningKeys(NEW)).verify(token, job_id=JOB_ID)
    with pytest.raises(UnauthenticatedError, match="not valid"):
        links(SigningKeys(NEW)).verify(token, job_id=new_id())


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(SigningKeys(NEW).sign("access", {"exp": 2**33, "job": JOB_ID, "for": str(CREDENTIAL)}), id="kind"),
        pytest.param(SigningKeys(NEW).sign("stream", {"exp": 2**33, "job": JOB_ID, "for": "nobody"}), id="nobody's"),
        pytest.param(SigningKeys(NEW).sign("stream", {"exp": "x", "job": JOB_ID, "for": str(CREDENTIAL)}), id="time"),
    ],
)
def test_what_says_something_else_is_no_link(token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        links(SigningKeys(NEW)).verify(token, job_id=JOB_ID)
