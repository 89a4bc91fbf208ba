"""Owns batching: records to write become commits of bounded size, and no group is divided."""

from collections.abc import Iterator, Mapping

from subgraph.domain.fleet.carrying_out import CarriedOut, Records
from subgraph.domain.ids import PodId, TileId
from subgraph.operations.fleet.fleet_writes import TileWrite


def commits_of(
    done: CarriedOut, versions: Mapping[TileId, int], lost_owners: Mapping[TileId, PodId], tiles_max: int
) -> Iterator[tuple[list[TileWrite], list[list[TileWrite]]]]:
    """What to write alone and in groups, commit by commit.

    Args:
        done: the records.
        versions: of every tile, the version its record was decided on; 0: it must be absent.
        lost_owners: of tiles that are taken from a lost owner, that owner.
        tiles_max: how many tiles a commit may have; a group that is larger has a commit of its own.
    """
    alone: list[TileWrite] = []
    groups: list[list[TileWrite]] = []
    size = 0
    units: list[tuple[Records, bool]] = [({tile_id: record}, False) for tile_id, record in done.alone.items()]
    units += [(group, True) for group in done.groups]
    for records, is_group in units:
        if size and size + len(records) > tiles_max:
            yield alone, groups
            alone, groups, size = [], [], 0
        writes = [
            TileWrite(tile_id, versions[tile_id], record, lost_owners.get(tile_id))
            for tile_id, record in records.items()
        ]
        if is_group:
            groups.append(writes)
        else:
            alone += writes
        size += len(writes)
    if size:
        yield alone, groups
