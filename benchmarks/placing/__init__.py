"""The parts of the placement benchmark: fleets, workloads, contenders, measurements, figures and plots."""

import os

# Before numpy is loaded: every figure is that of one thread.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
