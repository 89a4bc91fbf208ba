"""Owns the rivals that hash: the assignment is a function of names, and load moves it little or not at all."""

import numpy as np
import numpy.typing as npt

from placing.fleet import UNOWNED, Fleet, Rows

VIRTUAL_NODES = 100
"""Points on the ring of a pod with the mean capacity."""

BOUND = 1.25

Hashes = npt.NDArray[np.uint64]


def consistent_hashing(fleet: Fleet) -> Rows:
    """Give every tile to the next point clockwise on a ring of virtual nodes, in number proportional to capacity.

    Source: Karger, Lehman, Leighton, Panigrahy, Levine, Lewin: Consistent Hashing and Random Trees (STOC 1997), with
    the virtual nodes of DeCandia et al.: Dynamo (SOSP 2007).
    """
    points, pods = _ring(fleet)
    chosen = pods[np.searchsorted(points, _hash(fleet.cells.astype(np.uint64))) % points.size]
    return np.where(fleet.fixed, fleet.owner, chosen).astype(np.int32)


def bounded_load_hashing(fleet: Fleet) -> Rows:
    """Walk on, clockwise, past every pod that the tile would bring above 1.25 fair shares.

    Source: Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads (SODA 2018), with loads for balls. A
    tile that no pod can take within the bound goes to the one with most room.
    """
    points, pods_on_ring = _ring(fleet)
    start = (np.searchsorted(points, _hash(fleet.cells.astype(np.uint64))) % points.size).tolist()
    pods, loads, fixed = pods_on_ring.tolist(), fleet.load.tolist(), fleet.fixed.tolist()
    room_array = BOUND * fleet.fair_share - fleet.pod_load(np.where(fleet.fixed, fleet.owner, UNOWNED))
    room = np.where(fleet.live, room_array, -np.inf).tolist()
    owner = fleet.owner.tolist()
    for tile, load in enumerate(loads):
        if fixed[tile]:
            continue
        at, tried = start[tile], 0
        while room[pods[at]] < load and tried < len(pods):
            at, tried = (at + 1) % len(pods), tried + 1
        pod = pods[at] if room[pods[at]] >= load else max(range(len(room)), key=room.__getitem__)
        owner[tile] = pod
        room[pod] -= load
    return np.array(owner, np.int32)


def _ring(fleet: Fleet) -> tuple[Hashes, Rows]:
    counts = np.where(fleet.live, np.rint(VIRTUAL_NODES * fleet.capacity / fleet.capacity.mean()), 0).astype(np.int64)
    pods = np.repeat(np.arange(counts.size), counts)
    turn = np.arange(pods.size) - np.repeat(np.cumsum(counts) - counts, counts)
    points = _hash(pods.astype(np.uint64) << np.uint64(32) | turn.astype(np.uint64) | np.uint64(1 << 63))
    order = np.argsort(points)
    return points[order], pods[order].astype(np.int32)


def _hash(keys: Hashes) -> Hashes:
    """Mix each key: the finaliser of splitmix64."""
    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)
