"""What the log says of tokens that are refused: the reason, now and then, and nothing of the token."""

import logging

import pytest

from subgraph.adapters.jwt.verifier import JwtVerifier, OneKey
from subgraph.operations.authentication import Authenticator, Unauthenticated
from subgraph.operations.refusals import QUIET_SECONDS, Refusals
from tests.support.issuer import token

pytestmark = pytest.mark.anyio

SECRET = b"s" * 32


class Clock:
    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


async def refused(authenticator: Authenticator, shown: str | None, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(shown)


async def test_why_a_token_is_refused_is_told_once_in_a_while_and_not_what_was_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    verifier = JwtVerifier(OneKey(SECRET), ["HS256"], audience="session-manager")
    authenticator = Authenticator("the-access-token", verifier, refusals=Refusals(clock))
    shown = token(SECRET, "HS256", None, aud="another-service")
    await refused(authenticator, shown, times=50)
    clock.seconds += QUIET_SECONDS
    await refused(authenticator, shown)
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.INFO]
    reason = "InvalidAudienceError: Audience doesn't match"
    assert told == [
        f"a token was not accepted: {reason}",
        f"a token was not accepted, and 49 more before it: {reason}",
    ]
    assert shown not in caplog.text


async def test_a_request_without_a_token_is_ordinary(caplog: pytest.LogCaptureFixture) -> None:
    await refused(Authenticator("the-access-token"), None)
    assert caplog.messages == []
