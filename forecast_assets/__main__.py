"""`python -m forecast_assets`: sets the limit on threads, then runs `commands/main.py`."""

from forecasting.threads import limit_blas_threads


def main() -> None:
    """Run the command line."""
    limit_blas_threads()
    # Imports numpy, which reads the limit once.
    from forecast_assets.commands.main import main as run

    run()


if __name__ == "__main__":
    main()
