"""``/health`` and ``/metrics``: whether the service works, and how much."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from pydantic import BaseModel
from starlette.types import Scope

from vap.serving.api.gate import Observe
from vap.serving.api.service import Service, Shared

router = APIRouter(tags=["service"])

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class Health(BaseModel):
    """Whether jobs are accepted, and whether somebody makes them."""

    status: Literal["ok"] = "ok"
    workers: int


@router.get("/health")
def health(service: Shared) -> Health:
    """Tell that the service works and reaches its database."""
    return Health(workers=len(service.jobs.workers()))


class _Queue(Collector):
    """Jobs and workers, counted when somebody asks."""

    def __init__(self, service: Service) -> None:
        self._jobs = service.jobs

    def collect(self) -> Iterable[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("vap_jobs", "Jobs by state.", labels=["state"])
        for state, count in self._jobs.counts().items():
            jobs.add_metric([state], count)
        yield jobs
        alive = len(self._jobs.workers())
        yield GaugeMetricFamily("vap_workers", "Workers that give signs of life.", value=alive)


def add_metrics(app: FastAPI, service: Service) -> Observe:
    """Serve metrics, and return the function that observes requests."""
    registry = CollectorRegistry()
    registry.register(_Queue(service))
    seconds = Histogram(
        "vap_http_request_seconds",
        "Time to answer.",
        ["method", "route", "status"],
        registry=registry,
        buckets=_SECONDS,
    )

    @app.get(
        "/metrics",
        tags=["service"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    def metrics() -> Response:
        """Send metrics for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    def observe(scope: Scope, status: int, taken: float) -> None:
        # The template of the route, not the path: clients must not make labels.
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if route != "other" else "other"
        seconds.labels(method, route, str(status)).observe(taken)

    return observe
