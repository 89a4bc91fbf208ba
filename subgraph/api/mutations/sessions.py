"""Owns the mutations of sessions."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.once import once_of
from subgraph.api.inputs.prompt import ResolveSessionInput
from subgraph.api.inputs.session import (
    CopySessionInput,
    CreateSessionInput,
    RenameSessionInput,
    TitleSessionInput,
)
from subgraph.api.inputs.session_lifecycle import (
    DeleteSessionInput,
    EndSessionInput,
    ExtendSessionInput,
    RestoreSessionInput,
)
from subgraph.api.inputs.session_update import UpdateSessionInput
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import (
    CleanUpSessionsPayload,
    DeleteSessionPayload,
    ResolveSessionPayload,
    SessionPayload,
    TitleSessionPayload,
)
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
            coverage, wanted, once = input.coverage, input.to_new_session(), once_of(input)
            if coverage is None:
                return SessionPayload(session=to_session((await services.making.create(caller, wanted, once)).session))
            cells, template = await coverage.to_cells(), coverage.to_template()
            # All that can be refused is, before there is a session.
            services.partition.check_template(template, wanted.required_labels)
            begun = services.partition.begun_with(cells, template)
            made = await services.making.create(caller, wanted, once, begun)
            await services.partition.make_tiles(caller, made.session, is_new=made.is_new)
            return SessionPayload(session=to_session(made.session))

        return await told(SessionPayload, act)

    @strawberry.mutation(
        description=(
            "Get or create a chat client's session: the caller's own under the client's id, whose TTL is renewed, or a "
            "new one. If another owner has used the id within 24 hours, the new session gets another id. Concurrent "
            "calls create one session."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def resolve_session(self, info: Info, input: ResolveSessionInput) -> ResolveSessionPayload:
        """Resolve a session."""

        async def act() -> ResolveSessionPayload:
            done = await info.context.services.resolving.resolve(
                info.context.caller, input.client_session_id, input.to_messages()
            )
            return ResolveSessionPayload(
                session=to_session(done.session),
                client_session_id=done.client_id,
                is_new=done.is_new,
                was_collision=done.was_collision,
                message_count=done.message_count,
            )

        return await told(ResolveSessionPayload, act)

    @strawberry.mutation(
        description=(
            "Copy a session that the caller may see: a new ACTIVE one of its own, with the attributes of its source "
            "and the parts that are asked for."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def copy_session(self, info: Info, input: CopySessionInput) -> SessionPayload:
        """Copy a session."""

        async def act() -> SessionPayload:
            session = await info.context.services.copying.copy(
                info.context.caller,
                SessionId(str(input.source_id)),
                input.display_name,
                frozenset(input.include),
                input.name_conflict,
                once_of(input),
            )
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act, {"id": "sourceId"})

    @strawberry.mutation(
        description="Change an ACTIVE session: what is given, merged key by key; what is not given stays."
    )
    @needs(Scope.SESSION_WRITE)
    async def update_session(self, info: Info, input: UpdateSessionInput) -> SessionPayload:
        """Change a session."""

        async def act() -> SessionPayload:
            services, session_id, patch = info.context.services, SessionId(str(input.id)), input.to_patch()
            await services.label_rules.check_room_of_session(
                info.context.caller, session_id, patch.required_labels or {}
            )
            session = await services.changes.update(info.context.caller, session_id, patch, input.expected_revision)
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)

    @strawberry.mutation(
        description="End a session: its tiles are released, it takes no new work and stays readable. Idempotent."
    )
    @needs(Scope.SESSION_WRITE)
    async def end_session(self, info: Info, input: EndSessionInput) -> SessionPayload:
        """End a session."""

        async def act() -> SessionPayload:
            session = await info.context.services.lifecycle.end(
                info.context.caller,
                SessionId(str(input.id)),
                data_source=input.data_source,
                expected_revision=input.expected_revision,
            )
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)

    @strawberry.mutation(description="Rename a session. Its id and references to it do not change.")
    @needs(Scope.SESSION_WRITE)
    async def rename_session(self, info: Info, input: RenameSessionInput) -> SessionPayload:
        """Rename a session."""

        async def act() -> SessionPayload:
            naming, caller = info.context.services.naming, info.context.caller
            session = await naming.rename(
                caller, SessionId(str(input.id)), input.display_name, input.name_conflict, input.expected_revision
            )
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)

    @strawberry.mutation(description="Give a session a title: one set by hand, or one made of the first query.")
    @needs(Scope.SESSION_WRITE)
    async def title_session(self, info: Info, input: TitleSessionInput) -> TitleSessionPayload:
        """Give a session a title."""

        async def act() -> TitleSessionPayload:
            session, source = await info.context.services.changes.entitle(
                info.context.caller,
                SessionId(str(input.id)),
                title=input.title,
                query=input.query,
                expected_revision=input.expected_revision,
            )
            return TitleSessionPayload(session=to_session(session), title=session.title, source=source)

        return await told(TitleSessionPayload, act)

    @strawberry.mutation(
        description="Have a session expire a TTL from now. One that has expired is revived, and announced as a start."
    )
    @needs(Scope.SESSION_WRITE)
    async def extend_session(self, info: Info, input: ExtendSessionInput) -> SessionPayload:
        """Extend a session."""

        async def act() -> SessionPayload:
            lifecycle, caller = info.context.services.lifecycle, info.context.caller
            session = await lifecycle.extend(caller, SessionId(str(input.id)), input.ttl, input.expected_revision)
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)

    @strawberry.mutation(
        description=(
            "Delete a session: it is invisible at once, its names are free, its tiles are released, and it can be "
            "restored until retention removes it. `purge` removes it for good. Idempotent."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def delete_session(self, info: Info, input: DeleteSessionInput) -> DeleteSessionPayload:
        """Delete a session."""

        async def act() -> DeleteSessionPayload:
            done = await info.context.services.lifecycle.delete(
                info.context.caller,
                SessionId(str(input.id)),
                purge=input.purge,
                expected_revision=input.expected_revision,
            )
            return DeleteSessionPayload(
                session_id=input.id,
                deleted_at=None if done.is_purged else done.session.deleted_at,
                purged=done.is_purged,
                new_main=to_session(done.new_main) if done.new_main else None,
            )

        return await told(DeleteSessionPayload, act)

    @strawberry.mutation(
        description=(
            "Bring a deleted session back as it was. NAME_TAKEN if one of its names has gone to another session; it "
            "may bring another displayName. A former main is an ordinary session."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def restore_session(self, info: Info, input: RestoreSessionInput) -> SessionPayload:
        """Restore a session."""

        async def act() -> SessionPayload:
            naming, caller = info.context.services.naming, info.context.caller
            session = await naming.restore(caller, SessionId(str(input.id)), input.display_name, input.name_conflict)
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)

    @strawberry.mutation(
        description=(
            "Expire and remove now what is due in the tenant: sessions whose time has run out, and those that stopped "
            "longer ago than retention keeps them. It happens by itself, too."
        )
    )
    @needs(Scope.TENANT_WRITE)
    async def clean_up_expired_sessions(self, info: Info) -> CleanUpSessionsPayload:
        """Sweep the tenant's sessions."""

        async def act() -> CleanUpSessionsPayload:
            swept = await info.context.services.sweeper.clean_up(info.context.caller)
            return CleanUpSessionsPayload(expired=swept.expired, purged=swept.purged)

        return await told(CleanUpSessionsPayload, act)
