"""`python -m streaming_job`: settles the environment, then runs `cli.py`."""

import io
import os
import sys

#: One BLAS thread for this process and Spark's Python workers; `forecasting/threads.py` says why.
BLAS_THREADS = "1"


def main() -> None:
    """Run the command line."""
    # Whatever encoding the shell names: output has letters that ASCII has not.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", BLAS_THREADS)
    # Imports numpy, which reads the limit once.
    from streaming_job.cli import app
    from streaming_job.environment import forget_foreign_variables

    forget_foreign_variables()

    app(prog_name="python -m streaming_job")


if __name__ == "__main__":
    main()
