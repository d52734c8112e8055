"""`python -m forecast_assets`."""

from forecast_assets.cli import main

if __name__ == "__main__":
    main()
