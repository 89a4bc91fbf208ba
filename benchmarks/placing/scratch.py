"""Owns the rivals that start from scratch every round: the balance is theirs, the churn too."""

import heapq

import numpy as np
import pymetis

from placing.fleet import UNOWNED, Fleet, Rows

WEIGHT_MAX = 10_000
"""The heaviest tile as METIS sees it, whose weights are integers."""


def largest_first(fleet: Fleet) -> Rows:
    """Give the tiles, largest first, each to the pod that is utilized least by then.

    Source: Graham: Bounds on Multiprocessing Timing Anomalies (SIAM J. Appl. Math. 1969), the rule known as LPT.
    """
    owner = np.where(fleet.fixed, fleet.owner, UNOWNED).astype(np.int32)
    pods = np.flatnonzero(fleet.live)
    capacity = fleet.capacity.tolist()
    heap = list(zip((fleet.pod_load(owner) / fleet.capacity)[pods].tolist(), pods.tolist(), strict=True))
    heapq.heapify(heap)
    order = np.argsort(-fleet.load, kind="stable")
    order = order[owner[order] == UNOWNED]
    for tile, load in zip(order.tolist(), fleet.load[order].tolist(), strict=True):
        utilization, pod = heap[0]
        owner[tile] = pod
        heapq.heapreplace(heap, (utilization + load / capacity[pod], pod))
    return owner


def metis(fleet: Fleet) -> Rows:
    """Cut the graph of neighbours into one part a live pod, of equal load for its capacity, few edges between them.

    Source: Karypis, Kumar: A Fast and High Quality Multilevel Scheme for Partitioning Irregular Graphs (SIAM J. Sci.
    Comput. 1998), as packaged in PyMetis: k-way, imbalance 1.05 asked for. Pins are beyond it: what is pinned is put
    back afterwards.
    """
    if fleet.graph is None:
        raise ValueError("METIS needs the graph of neighbours")
    pods = np.flatnonzero(fleet.live)
    weights = np.rint(fleet.load * (WEIGHT_MAX / fleet.load.max())).astype(np.int64)
    options = pymetis.Options(ufactor=50, seed=1)
    parts = pymetis.part_graph(
        pods.size,
        xadj=fleet.graph.starts.tolist(),
        adjncy=fleet.graph.neighbours.tolist(),
        vweights=weights.tolist(),
        tpwgts=(fleet.capacity[pods] / fleet.capacity[pods].sum()).tolist(),
        recursive=False,
        options=options,
    ).vertex_part
    return np.where(fleet.fixed, fleet.owner, pods[np.array(parts)]).astype(np.int32)
