"""Owns which labels every tile requires, of its own and for its session: each distinct set of labels is kept once."""

from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet import mapped
from subgraph.domain.fleet.tile_columns import GROWTH_SHARE
from subgraph.domain.ids import SessionId
from subgraph.domain.labels import Labels

LabelSet = frozenset[tuple[str, str]]
NO_LABELS: LabelSet = frozenset()

LABEL_SETS_MAX = 1_000
"""Distinct sets of labels that the tiles of a fleet may require: each is one more row for the planner."""
_SETS_FORGOTTEN_FROM = 4 * LABEL_SETS_MAX
_ROWS_FIRST = 1024


class SessionRequirement(msgspec.Struct, frozen=True, array_like=True):
    """The labels that all tiles of a session require, as of a revision of the session."""

    revision: int
    labels: Labels


class Requirements:
    """Columns of set ids by tile row: what a tile requires of its own, and all in all. 0 is the empty set.

    They end where no further tile has ever required anything: most fleets know no labels.
    """

    _own: npt.NDArray[np.int32]
    _all: npt.NDArray[np.int32]

    def __init__(self) -> None:
        self._own, self._all = np.zeros(_ROWS_FIRST, np.int32), np.zeros(_ROWS_FIRST, np.int32)
        self._sets: list[LabelSet] = [NO_LABELS]
        self._id_of: dict[LabelSet, int] = {NO_LABELS: 0}
        self._of_session: dict[SessionId, SessionRequirement] = {}
        self._forget_at = _SETS_FORGOTTEN_FROM

    def put(self, row: int, session_id: SessionId, own: Labels) -> None:
        """Set what the tile of a row requires of its own; what its session requires comes on top."""
        of_session = self._set_of_session(session_id)
        if not own and not of_session:
            self.forget(row)
            return
        self._make_room(row)
        required = frozenset(own.items())
        self._own[row] = self._id(required)
        self._all[row] = self._id(required | of_session)

    def forget(self, row: int) -> None:
        """Hear that a row's tile is gone, or requires nothing."""
        if row < self._own.size:
            self._own[row] = self._all[row] = 0

    def put_session(
        self, session_id: SessionId, requirement: SessionRequirement | None, rows: npt.NDArray[np.int32]
    ) -> None:
        """Set what a session requires of all its tiles, which are in these rows; None: it has stopped."""
        if requirement is None:
            self._of_session.pop(session_id, None)
        else:
            self._of_session[session_id] = requirement
        of_session = self._set_of_session(session_id)
        if of_session and rows.size:
            self._make_room(int(rows.max()))
        rows = rows[rows < self._own.size]
        own = self._own[rows]
        for set_id in np.unique(own).tolist():
            self._all[rows[own == set_id]] = self._id(self._sets[set_id] | of_session)

    def own(self, row: int) -> Labels:
        """What a tile requires of its own."""
        return dict(self._sets[self._own[row]]) if row < self._own.size else {}

    def of(self, row: int) -> LabelSet:
        """All that a tile requires."""
        return self._sets[self._all[row]] if row < self._all.size else NO_LABELS

    def own_sets(self, rows: npt.NDArray[np.int32]) -> list[LabelSet]:
        """The distinct sets that these tiles require of their own."""
        return [self._sets[set_id] for set_id in np.unique(self._ids(self._own, rows)).tolist()]

    def of_session(self, session_id: SessionId) -> SessionRequirement | None:
        """What a session requires of all its tiles; None: nothing was ever said of it."""
        return self._of_session.get(session_id)

    @property
    def kept(self) -> int:
        """How many sets are kept, those included that no tile requires any more."""
        return len(self._sets)

    def sets_of(self, rows: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int32], list[LabelSet]]:
        """The distinct sets that these tiles require, and for each tile the position of its set among them."""
        ids = self._ids(self._all, rows)
        used = np.flatnonzero(np.bincount(ids, minlength=1))
        position = np.zeros(len(self._sets), np.int32)
        position[used] = np.arange(used.size)
        return position[ids], [self._sets[set_id] for set_id in used.tolist()]

    def sets_with(self, wanted: Iterable[LabelSet]) -> int:
        """How many distinct sets tiles would require, were these required too."""
        used = {self._sets[set_id] for set_id in np.flatnonzero(np.bincount(self._all)).tolist()}
        return len((used | set(wanted)) - {NO_LABELS})

    def _set_of_session(self, session_id: SessionId) -> LabelSet:
        requirement = self._of_session.get(session_id)
        return frozenset(requirement.labels.items()) if requirement else NO_LABELS

    @staticmethod
    def _ids(column: npt.NDArray[np.int32], rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """The entries of these rows, 0 beyond the column's end."""
        ids = np.zeros(rows.size, np.int32)
        known = rows < column.size
        ids[known] = column[rows[known]]
        return ids

    def _id(self, labels: LabelSet) -> int:
        set_id = self._id_of.get(labels)
        if set_id is None:
            set_id = self._id_of[labels] = len(self._sets)
            self._sets.append(labels)
        return set_id

    def _make_room(self, row: int) -> None:
        if row >= self._own.size:
            more = max(_ROWS_FIRST, round(GROWTH_SHARE * self._own.size), row + 1 - self._own.size)
            self._own, self._all = mapped.grown(self._own, more, 0), mapped.grown(self._all, more, 0)
        if len(self._sets) > self._forget_at:
            self._forget_unused()

    def _forget_unused(self) -> None:
        """Sets come and go with sessions; those that no tile requires any more must not pile up."""
        kept = np.union1d(np.append(self._own, 0), self._all)
        position = np.zeros(len(self._sets), np.int32)
        position[kept] = np.arange(kept.size)
        self._own, self._all = position[self._own], position[self._all]
        self._sets = [self._sets[set_id] for set_id in kept.tolist()]
        self._id_of = {labels: set_id for set_id, labels in enumerate(self._sets)}
        self._forget_at = max(_SETS_FORGOTTEN_FROM, 2 * len(self._sets))
