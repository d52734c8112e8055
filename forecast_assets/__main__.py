"""`python -m forecast_assets`."""

from forecast_assets.commands.main import main

if __name__ == "__main__":
    main()
