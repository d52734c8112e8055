"""The limit on threads for linear algebra: one per process, because processes share the cores.

OpenBLAS waits for its threads by spinning. On two busy cores, a training of 100 stores took 8 s of
processor time with one thread and 80 s with two. On two idle cores it took 5.0 s and 4.0 s.
LightGBM has a setting of its own (`threads`). `streaming_job`, which imports no other package of
this repository, sets the same variable in its `__main__`.
"""

import os

#: The variable that OpenBLAS reads when numpy is first imported.
BLAS_VARIABLE = "OPENBLAS_NUM_THREADS"
BLAS_THREADS = "1"


def limit_blas_threads() -> None:
    """Give this process and its children one BLAS thread each, unless the user has set a number.

    Call this function before numpy is imported. A later call only reaches the children.
    """
    os.environ.setdefault(BLAS_VARIABLE, BLAS_THREADS)
