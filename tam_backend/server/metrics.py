"""What Prometheus can ask of one app: requests, seconds of predict, frames propagated, jobs running."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tam_backend.jobs.registry import JobRegistry
from tam_backend.workers.workers import WorkerState

# From a click on a GPU to Label Studio's patience of 100 s.
_PREDICT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one app, in a registry of its own, so that two apps in a process (tests) do not share numbers."""

    def __init__(
        self, jobs: JobRegistry, model_version: Callable[[], str], workers: Callable[[], Sequence[WorkerState]]
    ) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tam_http_requests",
            "Answered requests by route and status",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._errors = Counter("tam_errors", "Failures by type", ["type"], registry=self._registry)
        self.predict_seconds = Histogram(
            "tam_predict_seconds", "Seconds of one /predict", buckets=_PREDICT_BUCKETS_S, registry=self._registry
        )
        self.predicts_waiting = Gauge(
            "tam_predicts_in_flight", "Requests to /predict that run or wait for the model", registry=self._registry
        )
        self._registry.register(_StateCollector(jobs, model_version, workers))

    def answered(self, method: str, route: str, status: int) -> None:
        """Count a request. `route` is the rule, not the path: each id would make a series, as each odd method would."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()

    def failed(self, error_type: str) -> None:
        """Count a failure."""
        self._errors.labels(error_type).inc()

    def as_text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _StateCollector(Collector):
    """Reads the state when it is asked, so that nothing is counted twice and a model that loads late is told right."""

    def __init__(
        self, jobs: JobRegistry, model_version: Callable[[], str], workers: Callable[[], Sequence[WorkerState]]
    ) -> None:
        self._jobs = jobs
        self._model_version = model_version
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "tam_frames_propagated", "Frames that propagations have done", value=self._jobs.frames_propagated
        )
        yield GaugeMetricFamily(
            "tam_jobs_running", "Propagations that this process works on now", value=self._jobs.at_work
        )
        info = GaugeMetricFamily("tam_model_info", "Always 1; the model is its label", labels=["model_version"])
        info.add_metric([self._model_version()], 1)
        yield info
        yield from _of_workers(self._workers())


def _of_workers(states: Sequence[WorkerState]) -> Iterator[Metric]:
    """How busy each worker is: its share of busy time, and its frames per second, are rates of these."""
    gauges: tuple[tuple[str, str, Callable[[WorkerState], float]], ...] = (
        ("tam_worker_ready", "Whether a worker has its networks", lambda each: float(each.ready)),
        ("tam_worker_waiting", "Calls that are at work or wait on a worker", lambda each: each.waiting),
    )
    counters: tuple[tuple[str, str, Callable[[WorkerState], float]], ...] = (
        ("tam_worker_busy_seconds", "Seconds in which a worker had something to do", lambda each: each.busy_s),
        ("tam_worker_frames", "Frames that a worker has tracked", lambda each: each.frames),
        ("tam_worker_clicks", "Clicks that a worker has answered", lambda each: each.clicks),
    )
    for name, meaning, read in gauges:
        gauge = GaugeMetricFamily(name, meaning, labels=["worker"])
        for each in states:
            gauge.add_metric([each.name], read(each))
        yield gauge
    for name, meaning, read in counters:
        counter = CounterMetricFamily(name, meaning, labels=["worker"])
        for each in states:
            counter.add_metric([each.name], read(each))
        yield counter
