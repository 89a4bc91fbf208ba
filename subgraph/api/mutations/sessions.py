"""Owns the mutations of sessions."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.session import CreateSessionInput, EndSessionInput, UpdateSessionInput
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import SessionPayload
from subgraph.api.scopes import needs
from subgraph.api.types.session import to_session
from subgraph.domain.access import Scope
from subgraph.domain.ids import SessionId


@strawberry.type
class SessionMutations:
    """Sessions."""

    @strawberry.mutation(description="Create an ACTIVE session, with tiles if a coverage is given.")
    @needs(Scope.SESSION_WRITE)
    async def create_session(self, info: Info, input: CreateSessionInput) -> SessionPayload:
        """Create a session."""

        async def act() -> SessionPayload:
            services, caller = info.context.services, info.context.caller
            coverage, wanted = input.coverage, input.to_new_session()
            if coverage is None:
                return SessionPayload(session=to_session(await services.sessions.create(caller, wanted)))
            cells, template = await coverage.to_cells(), coverage.to_template()
            # All that can be refused is, before there is a session.
            services.partition.check_template(template, wanted.required_labels)
            session = await services.sessions.create(caller, wanted)
            if cells:
                await services.partition.register(caller, session.id, cells, template)
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)

    @strawberry.mutation(description="Change an ACTIVE session: what its tiles require of the pods' labels.")
    @needs(Scope.SESSION_WRITE)
    async def update_session(self, info: Info, input: UpdateSessionInput) -> SessionPayload:
        """Change a session."""

        async def act() -> SessionPayload:
            session = await info.context.services.label_rules.require_of_session(
                info.context.caller, SessionId(str(input.id)), input.to_required_labels(), input.expected_revision
            )
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)

    @strawberry.mutation(
        description="End a session: its tiles are released, it takes no new work and stays readable. Idempotent."
    )
    @needs(Scope.SESSION_WRITE)
    async def end_session(self, info: Info, input: EndSessionInput) -> SessionPayload:
        """End a session."""

        async def act() -> SessionPayload:
            session = await info.context.services.sessions.end(
                info.context.caller,
                SessionId(str(input.id)),
                data_source=input.data_source,
                expected_revision=input.expected_revision,
            )
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)
