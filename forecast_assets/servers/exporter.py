"""The exporter behind the gate: `python -m forecast_assets.servers.exporter`.

Prometheus asks it for `/metrics` with the environment's `METRICS_TOKEN` as bearer token. What the
metrics are is in `forecast_assets/monitoring`.
"""

import logging
import sys

import typer

from forecast_assets.servers.gate import Gate, allowed_hosts
from forecast_assets.servers.options import (
    METRICS_TOKEN_VARIABLE,
    AllowedHosts,
    Host,
    Port,
    required_token,
)
from forecasting.threads import limit_blas_threads
from warehouse.environment import forget_libpq_variables

NAME = "exporter"
#: Next to the ports that Prometheus's own list of exporters assigns.
USUAL_PORT = 9880


def serve(
    host: Host = "127.0.0.1", port: Port = USUAL_PORT, allowed_host: AllowedHosts = None
) -> None:
    """Serve the metrics to whoever brings the token."""
    limit_blas_threads()
    forget_libpq_variables()
    import uvicorn

    from forecast_assets.monitoring.exporter import create_app
    from forecast_assets.monitoring.settings import load_settings
    from forecast_assets.settings import SettingsError

    token = required_token(METRICS_TOKEN_VARIABLE)
    logging.basicConfig(
        level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        app = create_app(load_settings())
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None
    gate = Gate(app, hosts=allowed_hosts(host, port, allowed_host or ()), token=token, name=NAME)
    uvicorn.run(gate, host=host, port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(serve)
