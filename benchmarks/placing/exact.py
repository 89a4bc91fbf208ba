"""Owns the least possible maximum as an integer program, for HiGHS to solve: a second opinion on our own search."""

import highspy
import numpy as np

from placing.fleet import Fleet


def least_peak_by_highs(fleet: Fleet, churn_max: float) -> float:
    """Return the least possible maximum utilization over all assignments that move at most that much load.

    One binary variable for a tile on a pod; the maximum is a variable of its own, to be made small.

    Raises:
        RuntimeError: HiGHS finds no optimum.
    """
    model = highspy.Highs()
    model.silent()
    model.setOptionValue("mip_rel_gap", 0.0)
    tiles, pods = range(fleet.load.size), range(fleet.capacity.size)
    on = [[model.addBinary() for _ in pods] for _ in tiles]
    peak = model.addVariable(lb=0.0)
    for tile in tiles:
        model.addConstr(sum(on[tile]) == 1)
    for pod in pods:
        held = sum(float(fleet.load[tile]) * on[tile][pod] for tile in tiles)
        model.addConstr(held - float(fleet.capacity[pod]) * peak <= 0)
    away = sum(float(fleet.load[tile]) * (1 - on[tile][int(fleet.owner[tile])]) for tile in tiles)
    model.addConstr(away <= churn_max * (1 + 1e-9))
    model.minimize(peak)
    if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise RuntimeError(f"HiGHS ends with {model.getModelStatus()}")
    chosen = np.array([max(pods, key=lambda pod: model.val(on[tile][pod])) for tile in tiles], np.int32)
    return float((fleet.pod_load(chosen) / fleet.capacity).max())
