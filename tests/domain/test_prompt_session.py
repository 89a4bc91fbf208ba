"""The ids of chat clients' sessions: derived as written down, limited, and never of nothing."""

from hashlib import sha256

import pytest

from subgraph.domain.errors import InvalidInput
from subgraph.domain.prompt_session import (
    CLIENT_ID_LENGTH_MAX,
    MESSAGES_MAX,
    PromptMessage,
    PromptRole,
    check_client_id,
    check_messages,
    derived_id,
)

USER, ASSISTANT, SYSTEM, TOOL = PromptRole


def said(role: PromptRole, content: str) -> PromptMessage:
    return PromptMessage(role, content)


@pytest.mark.requirement("Resolve, for OpenAI-style clients: no id given")
@pytest.mark.parametrize(
    ("messages", "hashed"),
    [
        ([said(SYSTEM, "be kind"), said(USER, "hello")], "ann|be kind|hello"),
        (
            [said(USER, "hello"), said(ASSISTANT, "hi"), said(USER, "again"), said(SYSTEM, "be kind")],
            "ann|be kind|hello",
        ),
        ([said(USER, "hello")], "ann||hello"),
        ([said(SYSTEM, "be kind"), said(TOOL, "x")], "ann|be kind|"),
        ([said(SYSTEM, "é" * 300), said(USER, "雪" * 300)], f"ann|{'é' * 200}|{'雪' * 100}"),
    ],
)
def test_an_id_is_derived_from_user_system_and_first_question(messages: list[PromptMessage], hashed: str) -> None:
    assert derived_id("ann", messages) == "oai-" + sha256(hashed.encode()).hexdigest()[:16]


@pytest.mark.parametrize("messages", [[], [said(ASSISTANT, "hi")], [said(USER, "")]])
def test_nothing_gives_no_id(messages: list[PromptMessage]) -> None:
    with pytest.raises(InvalidInput):
        derived_id("ann", messages)


def test_a_prompt_has_its_limit() -> None:
    check_messages([said(USER, "x")] * MESSAGES_MAX)
    with pytest.raises(InvalidInput) as refused:
        check_messages([said(USER, "x")] * (MESSAGES_MAX + 1))
    assert (refused.value.path, refused.value.limit) == (("messages",), "10000 messages")


def test_a_clients_id_has_its_limits() -> None:
    check_client_id("x" * CLIENT_ID_LENGTH_MAX)
    for bad in ("", "a\0", "a\nb", "\ud83d", "x" * (CLIENT_ID_LENGTH_MAX + 1)):
        with pytest.raises(InvalidInput) as refused:
            check_client_id(bad)
        assert refused.value.path == ("clientSessionId",)
