"""Owns the labels that tiles require of pods: set on a session, a coverage or single tiles."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from subgraph.domain.access import Caller, require_change
from subgraph.domain.errors import InvalidInput, NotFound, QuotaExceeded, Unavailable
from subgraph.domain.fleet.requirements import LABEL_SETS_MAX, LabelSet, SessionRequirement
from subgraph.domain.ids import SessionId, TenantId, TileId, parse_tile_id
from subgraph.domain.labels import REQUIRED_LABELS_MAX, Labels, check_labels, check_required
from subgraph.domain.ownership import TileRecord
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import COMMIT_ATTEMPTS_MAX, TILES_PER_COMMIT_MAX, TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.sessions.session_ports import SessionStore
from subgraph.operations.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True)
class LabelRules:
    """What pods must bear. SQL has the truth of what sessions require, the live store a copy for whoever plans."""

    store: SessionStore
    sessions: Sessions
    live: LiveFleet
    view: FleetView

    def check_room(self, required: Labels, of_session: Labels, path: tuple[str, ...]) -> None:
        """Refuse one more distinct set of labels than a fleet may require.

        Raises:
            QuotaExceeded: there are as many as there may be, and these labels are none of them.
        """
        self._check_room([frozenset({**of_session, **required}.items())], path)

    async def check_room_of_session(self, caller: Caller, session_id: SessionId, required: Labels) -> None:
        """Refuse labels for all tiles of a session if the fleet would require too many distinct sets.

        Raises:
            InvalidInput: they are too many, or too long.
            NotFound, NotAllowed: the caller may not change the session, so its labels are none of its business.
            QuotaExceeded: as for `check_room`.
        """
        if not required:
            return
        check_labels(required, ("requiredLabels",), REQUIRED_LABELS_MAX)
        require_change(caller, (await self.sessions.get_many(caller, [session_id])).get(session_id), session_id)
        requirements = self.view.current().tiles.requirements
        own = requirements.own_sets(self.view.current().tiles.rows_of_session(session_id))
        self._check_room([one | frozenset(required.items()) for one in own], ("requiredLabels",))

    async def require_of_tiles(self, caller: Caller, tile_ids: Sequence[TileId], required: Labels) -> None:
        """Have tiles require these labels of their own, in place of what they required before.

        Raises:
            NotFound: the caller has no such tile; nothing is written.
            InvalidInput: the labels are malformed or contradict what the session requires, or the tiles are too many.
            QuotaExceeded: as for `check_room`.
            Unavailable: the tiles kept changing.
        """
        if not 1 <= len(tile_ids) <= TILES_PER_COMMIT_MAX:
            limit = f"{TILES_PER_COMMIT_MAX} tiles"
            raise InvalidInput(f"1 to {limit} a call, not {len(tile_ids):,}", ("tileIds",), limit)
        place_of = {tile_id: str(index) for index, tile_id in enumerate(tile_ids)}
        session_ids = {parse_tile_id(tile_id, ("tileIds", place))[0] for tile_id, place in place_of.items()}
        sessions = await self.sessions.get_many(caller, list(session_ids))
        for tile_id, place in place_of.items():
            owner = parse_tile_id(tile_id)[0]
            if owner not in sessions:
                raise NotFound("Tile", tile_id, ("tileIds", place))
            require_change(caller, sessions[owner], owner, ("tileIds", place))
        for session in sessions.values():
            check_required(required, session.required_labels, ("requiredLabels",))
            self.check_room(required, session.required_labels, ("requiredLabels",))
        left = list(place_of)
        for _ in range(COMMIT_ATTEMPTS_MAX):
            stored = await self.live.read_tiles(left)
            for tile_id in left:
                if tile_id not in stored or not _is_callers(stored[tile_id].record, caller):
                    raise NotFound("Tile", tile_id, ("tileIds", place_of[tile_id]))
            writes = [
                TileWrite(tile_id, found.version, msgspec.structs.replace(found.record, required=dict(required)))
                for tile_id, found in stored.items()
                if found.record.required != required
            ]
            committed = await self.live.commit(None, writes)
            await self.view.caught_up(committed.version)
            left = list(committed.tile_conflicts)
            if not left:
                return
        raise Unavailable(f"tile {left[0]!r} kept changing; try again", retry_after_seconds=1.0)

    async def note(self, session: Session) -> None:
        """Have the fleet know what a session requires, if it knows otherwise. Repeating is harmless."""
        noted = self.view.current().tiles.requirements.of_session(session.id)
        if (noted.labels if noted else {}) == session.required_labels:
            return
        requirement = SessionRequirement(session.revision, session.required_labels)
        await self.view.caught_up(await self.live.require(session.id, requirement))

    async def note_changed(self, tenant_id: TenantId, session_id: SessionId) -> None:
        """Have the fleet know what a session requires by now; nothing of one that has stopped."""
        session = (await self.store.sessions(tenant_id, [session_id])).get(session_id)
        if session is not None and session.state is SessionState.ACTIVE:
            await self.note(session)

    def _check_room(self, wanted: Sequence[LabelSet], path: tuple[str, ...]) -> None:
        if not any(wanted):
            return
        total = self.view.current().tiles.requirements.sets_with(wanted)
        if total > LABEL_SETS_MAX:
            raise QuotaExceeded("distinct sets of required labels in the fleet", LABEL_SETS_MAX, total, path)


def _is_callers(record: TileRecord, caller: Caller) -> bool:
    return record.tenant_id == caller.tenant_id and not record.retiring
