"""`python -m forecast_assets`: settles the environment, then runs `commands/main.py`."""

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
    from forecast_assets.commands.main import main as run

    run()


if __name__ == "__main__":
    main()
