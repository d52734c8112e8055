"""The exporter's application: `/metrics` for Prometheus, `/health` for whoever starts it.

`forecast_assets/servers/exporter.py` serves it behind the gate.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecast_assets.monitoring.dagster_metrics import DagsterSource
from forecast_assets.monitoring.sales_metrics import SalesSource
from forecast_assets.monitoring.settings import ExporterSettings
from forecast_assets.monitoring.sources import StackCollector


def create_registry(config: ExporterSettings) -> CollectorRegistry:
    """Return the registry of all metrics; nothing is read before the first scrape.

    Raises:
        SettingsError: An address is not set.
    """
    sales_address, dagster_address = config.addresses()
    registry = CollectorRegistry()
    registry.register(
        StackCollector(
            [
                SalesSource(sales_address, config),
                DagsterSource(dagster_address),
            ]
        )
    )
    # Its own CPU and memory.
    ProcessCollector(registry=registry)
    return registry


def create_app(config: ExporterSettings) -> Starlette:
    """Return the application.

    Raises:
        SettingsError: An address is not set.
    """
    registry = create_registry(config)

    # Not asynchronous: it waits for the databases, in a thread.
    def metrics(request: Request) -> Response:
        del request
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    def health(request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/metrics", metrics), Route("/health", health)])
