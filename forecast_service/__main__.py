"""`python -m forecast_service`: settles the environment, then runs `cli.py`."""

import io
import sys

from forecasting.threads import limit_blas_threads
from warehouse.environment import forget_libpq_variables, reach_loopback_directly


def main() -> None:
    """Run the command line."""
    # Whatever encoding the shell names: output has letters that ASCII has not.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    limit_blas_threads()
    forget_libpq_variables()
    reach_loopback_directly()
    # Imports numpy, which reads the limit once.
    from forecast_service.cli import app

    app(prog_name="python -m forecast_service")


if __name__ == "__main__":
    main()
