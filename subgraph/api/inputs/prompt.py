"""Owns the input by which a chat client comes by its session."""

import strawberry

from subgraph.api.descriptions import show_enum
from subgraph.domain import prompt_session
from subgraph.domain.prompt_session import CLIENT_ID_LENGTH_MAX, FIRST_USER_CHARACTERS, SYSTEM_CHARACTERS, PromptRole

show_enum(
    PromptRole,
    name="SessionMessageRole",
    description="Role of a message's author.",
    values={
        PromptRole.USER: "The user.",
        PromptRole.ASSISTANT: "The model or agent.",
        PromptRole.SYSTEM: "Instructions to the assistant.",
        PromptRole.TOOL: "The result of a tool that the assistant called.",
    },
)


@strawberry.input(description="One message of a prompt.")
class PromptMessageInput:
    """A message."""

    role: PromptRole = strawberry.field(description="Role of the message's author.")
    content: str = strawberry.field(description="Text of the message.")


@strawberry.input(description="A chat client's reference to its session: the id it uses, or the prompt it sends.")
class ResolveSessionInput:
    """A session to resolve."""

    client_session_id: str | None = strawberry.field(
        default=None, description=f"The client's id for the session, 1 to {CLIENT_ID_LENGTH_MAX} characters."
    )
    messages: list[PromptMessageInput] | None = strawberry.field(
        default=None,
        description=(
            "The prompt. If `clientSessionId` is absent, an id is derived from the caller, the first "
            f"{SYSTEM_CHARACTERS} characters of the first system message and the first {FIRST_USER_CHARACTERS} "
            "characters of the first user message."
        ),
    )

    def to_messages(self) -> list[prompt_session.PromptMessage]:
        """The domain's values."""
        return [prompt_session.PromptMessage(one.role, one.content) for one in self.messages or ()]
