"""Owns whether an operator may split a tile or merge tiles now, and the words in which a refusal says why not."""

from collections import Counter
from collections.abc import Sequence

from subgraph.domain.coverage import FINEST_RESOLUTION, TILES_PER_SESSION_MAX
from subgraph.domain.errors import IllegalState, InvalidInput, NotFound, QuotaExceeded
from subgraph.domain.fleet.divisions import finest_resolution
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import TileId, parse_tile_id, tile_id
from subgraph.domain.ownership import AssignmentState, TileRecord, terms_of
from subgraph.domain.planning.reasons import UnsplitReason
from subgraph.domain.planning.resolution import ResolutionPolicy
from subgraph.domain.succession import children_of, lasting_of, resolution_of

NAMED_MAX = 7


def successors_of(fleet: Fleet, tile: TileId) -> list[TileId]:
    """The tiles in force that have a tile's place: those inside it, or the one around it; none while it is in force."""
    session_id, cell = parse_tile_id(tile)
    coverage = fleet.tiles.coverage(session_id)
    around = coverage.tile_of(cell)
    cells = coverage.tiles_within(cell) if around is None else [around] if around != cell else []
    return [tile_id(session_id, one) for one in cells]


def require_splittable(fleet: Fleet, tile: TileId, policy: ResolutionPolicy) -> None:
    """Make sure that a tile in force may split.

    Raises:
        IllegalState: it is as fine as it may get, in the middle of something, or its pod has no room for the parts.
        QuotaExceeded: its session would have too many tiles.
    """
    path = ("tileId",)
    record = fleet.record(tile)
    assert record is not None
    finest = finest_resolution(tile, record, policy)
    if resolution_of(tile) >= finest:
        raise IllegalState(
            f"tile {tile!r} is as fine as it may get: {finest} is the finest resolution, {policy.finer_max} finer than "
            "what was registered at most",
            UnsplitReason.FINEST_RESOLUTION.name,
            path,
        )
    _require_settled(tile, record, path)
    children = children_of(tile)
    _require_gone(fleet, children, path)
    session_id, _ = parse_tile_id(tile)
    total = fleet.tiles.rows_of_session(session_id).size + len(children)
    if total > TILES_PER_SESSION_MAX:
        raise QuotaExceeded("tiles a session", TILES_PER_SESSION_MAX, total, path)
    pod = fleet.pods.get(record.owner.pod_id) if record.owner else None
    if pod is not None and pod.record.tiles_max is not None:
        after = int(fleet.pod_tile_counts()[fleet.pods.row_or_new(pod.id)]) + len(children) - 1
        if after > pod.record.tiles_max:
            raise IllegalState(
                f"pod {pod.id!r} takes at most {pod.record.tiles_max:,} tiles, and would have {after:,}",
                UnsplitReason.POD_FULL.name,
                path,
            )


def require_mergeable(fleet: Fleet, parent: TileId) -> None:
    """Make sure that all children of a tile that is not in force may merge into it.

    Raises:
        InvalidInput: the parent is at the finest resolution, so it has no children.
        NotFound: nothing of the parent's place is covered.
        IllegalState: some children are missing, on several pods, unlike each other or in the middle of something; or
            the parent would be coarser than what was registered.
    """
    path = ("parent",)
    children = children_of(parent)
    if not children:
        raise InvalidInput(f"a cell of resolution {FINEST_RESOLUTION} has no children", path, str(FINEST_RESOLUTION))
    session_id, cell = parse_tile_id(parent)
    coverage = fleet.tiles.coverage(session_id)
    around = coverage.tile_of(cell)
    if around is not None:
        whole = tile_id(session_id, around)
        raise IllegalState(f"the place belongs to tile {whole!r}, which is coarser", "COARSER", path)
    if not coverage.tiles_within(cell):
        raise NotFound("Tile", parent, path)
    records = {child: _in_force(fleet, child) for child in children}
    siblings = {child: record for child, record in records.items() if record is not None}
    missing = [child for child in children if child not in siblings]
    if missing:
        finer = [child for child in missing if coverage.tiles_within(parse_tile_id(child)[1])]
        hint = f"; {_named(finer)} split further, and must merge first" if finer else ""
        raise IllegalState(f"the set of siblings is not complete: no tile {_named(missing)}{hint}", "INCOMPLETE", path)
    first = siblings[children[0]]
    if first.registered_resolution is None or first.registered_resolution > resolution_of(parent):
        registered = resolution_of(children[0]) if first.registered_resolution is None else first.registered_resolution
        why = f"no tile is coarser than what was registered, at resolution {registered}: merging undoes splits"
        raise IllegalState(why, "AS_REGISTERED", path)
    _require_gone(fleet, [parent], path)
    pods = Counter(record.owner.pod_id if record.owner else "nobody" for record in siblings.values())
    if len(pods) > 1:
        told = ", ".join(f"{count} on {pod}" for pod, count in sorted(pods.items()))
        raise IllegalState(f"only siblings on one pod merge: {told}", "SEVERAL_PODS", path)
    for child, record in siblings.items():
        _require_settled(child, record, path)
        if lasting_of(record) != lasting_of(first):
            why = f"tile {child!r} differs from {children[0]!r} in its capacity, its pin or what it requires of pods"
            raise IllegalState(why, "UNLIKE", path)


def _in_force(fleet: Fleet, tile: TileId) -> TileRecord | None:
    record = fleet.record(tile)
    return None if record is None or record.retiring else record


def _require_settled(tile: TileId, record: TileRecord, path: tuple[str, ...]) -> None:
    if record.is_settled or not terms_of(record):
        return
    state = next(state for _, state in reversed(terms_of(record)))
    if state is AssignmentState.ACTIVE:
        raise IllegalState(f"the owner of tile {tile!r} has not said yet that it works", "NOT_SETTLED", path)
    raise IllegalState(f"a handoff of tile {tile!r} is under way", state.value, path)


def _require_gone(fleet: Fleet, tiles: Sequence[TileId], path: tuple[str, ...]) -> None:
    for tile in tiles:
        if fleet.record(tile) is not None:
            raise IllegalState(f"tile {tile!r} was replaced a moment ago, and its owner still drains", "DRAINING", path)


def _named(tiles: Sequence[TileId]) -> str:
    return ", ".join(tiles[:NAMED_MAX])
