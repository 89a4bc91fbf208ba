"""Owns the input by which a chat client comes by its session."""

import strawberry

from subgraph.api.descriptions import show_enum
from subgraph.domain import prompt_session
from subgraph.domain.prompt_session import CLIENT_ID_LENGTH_MAX, FIRST_USER_CHARACTERS, SYSTEM_CHARACTERS, PromptRole

show_enum(
    PromptRole,
    name="SessionMessageRole",
    description="Who speaks in a conversation.",
    values={
        PromptRole.USER: "The person who asks.",
        PromptRole.ASSISTANT: "The model or agent that answers.",
        PromptRole.SYSTEM: "Whoever instructs the assistant.",
        PromptRole.TOOL: "A tool that the assistant called: its result.",
    },
)


@strawberry.input(description="One message of a prompt.")
class PromptMessageInput:
    """A message."""

    role: PromptRole = strawberry.field(description="Who speaks.")
    content: str = strawberry.field(description="What is said.")


@strawberry.input(description="What a chat client knows of its session: the id it uses, or the prompt it sends.")
class ResolveSessionInput:
    """A session to resolve."""

    client_session_id: str | None = strawberry.field(
        default=None, description=f"The id the client uses, 1 to {CLIENT_ID_LENGTH_MAX} characters."
    )
    messages: list[PromptMessageInput] | None = strawberry.field(
        default=None,
        description=(
            f"The prompt. Without an id one is derived from the caller, the first {SYSTEM_CHARACTERS} characters of "
            f"its first system message and the first {FIRST_USER_CHARACTERS} of its first user message."
        ),
    )

    def to_messages(self) -> list[prompt_session.PromptMessage]:
        """The domain's values."""
        return [prompt_session.PromptMessage(one.role, one.content) for one in self.messages or ()]
