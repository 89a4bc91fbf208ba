"""Owns the use cases of transfer: the export of a session as a document, and the import of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from subgraph.domain.access import Caller, Scope
from subgraph.domain.errors import InvalidInput, NameTaken, NotFound
from subgraph.domain.idempotency import NO_KEY, OnceKey
from subgraph.domain.ids import ID_LENGTH_MAX, SessionId, TenantId
from subgraph.domain.journal import JournalEntry
from subgraph.domain.naming import NameConflict
from subgraph.domain.registration import RegisteredCells
from subgraph.domain.session_document import DOCUMENT_BYTES_MAX, EVENTS_MAX, RELATIVES_MAX, SessionDocument
from subgraph.domain.session_export import write_document
from subgraph.domain.session_import import PATH, SESSION_PATH, coverage_of, imported, read_document
from subgraph.domain.sessions import Session, SessionChange, SessionState, as_of
from subgraph.operations.coverage.partition import Partition
from subgraph.operations.sessions.session_making import Decide, MadeSession, SessionMaking
from subgraph.operations.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True)
class WholeSession:
    """A session, what it is related to, and all that is its own, as of one moment; of its journal, the newest."""

    session: Session
    parents: Sequence[Session]
    associates: Sequence[Session]
    original: Session | None
    coverage: Sequence[RegisteredCells]
    entries: Sequence[JournalEntry]
    entry_count: int


class SessionExports(Protocol):
    """Sessions with all that is theirs."""

    async def whole(
        self,
        tenant_id: TenantId,
        session_id: SessionId,
        *,
        relatives_of: str | None,
        relatives_max: int,
        events_max: int,
        events_bytes_max: int,
    ) -> WholeSession | None:
        """One of the tenant's sessions, or None: everything in one transaction that sees one moment.

        Args:
            tenant_id: the tenant.
            session_id: the session.
            relatives_of: whose parents and associates are read, `main` besides; None: all.
            relatives_max: how many parents, and how many associates are, the oldest first.
            events_max: how many entries of its journal are read, the newest of them.
            events_bytes_max: no more entries are read when what they tell has so many characters.

        Raises:
            Unavailable: the database did not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class SessionTransfer:
    """Sessions that leave one store and come to one."""

    sessions: Sessions
    exports: SessionExports
    making: SessionMaking
    partition: Partition

    async def export(self, caller: Caller, session_id: SessionId) -> dict[str, object]:
        """The document of a session that the caller may see, at this moment.

        Of related sessions it names those that the caller may see; of the journal it tells the newest events that fit.

        Raises:
            NotFound: there is no such session for this caller.
            QuotaExceeded: it is larger than a document may be.
        """
        # One relative more than a document holds: that there are more is all that is to be known of them.
        whole = await self.exports.whole(
            caller.tenant_id,
            session_id,
            relatives_of=None if caller.has(Scope.TENANT_READ) else caller.owner_id,
            relatives_max=RELATIVES_MAX + 1,
            events_max=EVENTS_MAX,
            events_bytes_max=DOCUMENT_BYTES_MAX,
        )
        if whole is None or whole.session.state is SessionState.DELETED or not caller.may_see(whole.session):
            raise NotFound("Session", session_id, ("id",))
        now, original = self.sessions.clock(), whole.original
        is_told = original is not None and original.state is not SessionState.DELETED and caller.may_see(original)
        session = as_of(whole.session, now)
        return write_document(
            session if is_told else replace(session, copied_from=None),
            [one.id for one in whole.parents if caller.may_see(one)],
            [one.id for one in whole.associates if caller.may_see(one)],
            whole.coverage,
            whole.entries,
            whole.entry_count,
            now,
        )

    async def bring_in(
        self,
        caller: Caller,
        given: object,
        display_name: str | None = None,
        name_conflict: NameConflict = NameConflict.REJECT,
        once: OnceKey = NO_KEY,
    ) -> Session:
        """A new session of the caller's from a document, with its tiles.

        Of the associates it names those come along that the caller may see here. An external id that another session of
        the caller's bears is refused like a name, or left out if the policy is to come by another name. Who repeats a
        call that failed while its tiles were made makes good what is missing, if it gave a key.

        Raises:
            InvalidInput: the document is malformed, of another version, or beyond a limit; the path names the place.
            NameTaken, QuotaExceeded, Unavailable: as the policy on names and the tiles say.
        """
        document = read_document(given)
        coverage = coverage_of(document)
        # All that can be refused is, before there is a session.
        self._check_coverage(document, coverage)
        named = [SessionId(one) for one in document.hierarchy.associate_ids if len(one) <= ID_LENGTH_MAX]
        visible = await self.sessions.get_many(caller, named) if named else {}
        await self.sessions.ensure_main(caller)
        try:
            made = await self._made(caller, document, coverage, display_name, visible, name_conflict, once)
        except NameTaken as taken:
            if taken.path != ("externalId",):
                raise
            if name_conflict is NameConflict.REJECT:
                raise NameTaken(
                    taken.display_name,
                    taken.conflicting_id,
                    (*SESSION_PATH, "externalId"),
                    has_expired=taken.has_expired,
                ) from taken
            anonymous = _without_external_id(document)
            made = await self._made(caller, anonymous, coverage, display_name, visible, name_conflict, once)
        if coverage:
            await self.partition.make_tiles(caller, made.session, is_new=made.is_new)
        return made.session

    async def _made(
        self,
        caller: Caller,
        document: SessionDocument,
        coverage: Sequence[RegisteredCells],
        display_name: str | None,
        associates: Mapping[SessionId, Session],
        name_conflict: NameConflict,
        once: OnceKey,
    ) -> MadeSession:
        begun = self.partition.coverage.new(coverage)

        def decide(name: str | None) -> SessionChange:
            now, defaults = self.sessions.clock(), self.sessions.defaults
            change = imported(document, name, associates, caller.tenant_id, caller.owner_id, now, defaults)
            return replace(change, coverage=begun)

        async def prepare() -> Decide:
            return decide

        # What is wrong in the document is found before a name is sought.
        decide(display_name)
        name = document.session.display_name if display_name is None else display_name
        makes = self.making.make(
            caller,
            "importSession",
            once,
            name,
            name_conflict,
            prepare,
            # A former main comes in under the name it was given, as it is; who chooses a name cannot choose such a one.
            may_be_retired_main=display_name is None,
        )
        try:
            return await makes
        except InvalidInput as refused:
            if display_name is None and refused.path == ("displayName",):
                raise InvalidInput(refused.message, (*SESSION_PATH, "displayName"), refused.limit) from refused
            raise

    def _check_coverage(self, document: SessionDocument, coverage: Sequence[RegisteredCells]) -> None:
        for index, part in enumerate(coverage):
            try:
                self.partition.check_template(part.template, document.session.required_labels)
            except InvalidInput as refused:
                # It is told of as of a coverage that is given by itself.
                path = (*PATH, "coverage", str(index), *refused.path[1:])
                raise InvalidInput(refused.message, path, refused.limit) from refused


def _without_external_id(document: SessionDocument) -> SessionDocument:
    nameless = msgspec.structs.replace(document.session, external_id=None)
    return msgspec.structs.replace(document, session=nameless)
