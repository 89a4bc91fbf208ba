"""Owns how a chat client that may send no id of a session comes by one: derived from its prompt, or made up anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256

from subgraph.domain.errors import InvalidInput
from subgraph.domain.limits import check_length
from subgraph.domain.texts import check_line

PROMPT_ID_PREFIX = "oai-"
SYSTEM_CHARACTERS = 200
FIRST_USER_CHARACTERS = 100
CLIENT_ID_LENGTH_MAX = 200
MESSAGES_MAX = 10_000
MAPPING_TTL = timedelta(hours=24)
"""How long a client's id stays its owner's after the last call with it."""


class PromptRole(StrEnum):
    """Who speaks in a prompt."""

    USER = "USER"
    ASSISTANT = "ASSISTANT"
    SYSTEM = "SYSTEM"
    TOOL = "TOOL"


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt."""

    role: PromptRole
    content: str


@dataclass(frozen=True, slots=True)
class ClientClaim:
    """Whose a client's id is, and how many times its owner has sent a prompt under it; 0 where it is another's."""

    owner_id: str
    message_count: int


def derived_id(user: str, messages: Sequence[PromptMessage]) -> str:
    """The id of a client's session that is given none: the same for the same beginning of a conversation.

    Of the system's message (the first) 200 code points count, of the user's first 100; one that is absent is empty.

    Raises:
        InvalidInput: none of the messages is the user's or the system's: all such clients would share one session.
    """
    system = _first(messages, PromptRole.SYSTEM)
    first_user = _first(messages, PromptRole.USER)
    if not system and not first_user:
        raise InvalidInput(
            "give clientSessionId, or messages of which one is the user's or the system's", ("clientSessionId",)
        )
    text = "|".join((user, system[:SYSTEM_CHARACTERS], first_user[:FIRST_USER_CHARACTERS]))
    return PROMPT_ID_PREFIX + sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def collision_id(eight_hex: str) -> str:
    """The id of a client whose own is another owner's."""
    return PROMPT_ID_PREFIX + eight_hex


def check_messages(messages: Sequence[PromptMessage]) -> None:
    """Refuse a prompt of too many messages.

    Raises:
        InvalidInput: naming the limit.
    """
    if len(messages) > MESSAGES_MAX:
        raise InvalidInput(
            f"at most {MESSAGES_MAX:,} messages, not {len(messages):,}", ("messages",), f"{MESSAGES_MAX} messages"
        )


def check_client_id(client_id: str) -> None:
    """Refuse an id that no client may choose.

    Raises:
        InvalidInput: it is empty or too long, or holds control characters.
    """
    check_length("clientSessionId", len(client_id), CLIENT_ID_LENGTH_MAX, ("clientSessionId",))
    check_line("clientSessionId", client_id, ("clientSessionId",))


def _first(messages: Sequence[PromptMessage], role: PromptRole) -> str:
    return next((message.content for message in messages if message.role is role), "")
