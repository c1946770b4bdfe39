"""How do numbers become the text that Prometheus reads? Only what a catalog names can be put on a page."""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lsproxy.metrics.buckets import Buckets

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Named(msgspec.Struct, frozen=True):
    """One metric of a catalog: its full name, what it counts in one sentence, the names of its labels."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


class Page(Collector):
    """The metrics of `catalog`, in its order. Those nothing was put to are there by name alone."""

    def __init__(self, catalog: Iterable[Named]) -> None:
        self._families: dict[str, Metric] = {named.name: _family(named) for named in catalog}

    def put(self, name: str, value: float, *labels: str) -> None:
        """The number `value` of `name` for these values of its labels."""
        family = self._families[name]
        assert isinstance(family, GaugeMetricFamily | CounterMetricFamily)
        family.add_metric(labels, value)

    def put_one_of(self, name: str, values: Iterable[str], true: str | None, *labels: str) -> None:
        """Of `values`, the last label, the one that holds now is 1 and all others are 0."""
        for value in values:
            self.put(name, float(value == true), *labels, value)

    def put_counts(self, name: str, counts: Iterable[tuple[str, int]], *labels: str) -> None:
        """Of each word of `counts`, which is the last label, how often."""
        for key, count in counts:
            self.put(name, count, *labels, key)

    def put_buckets(self, name: str, buckets: Buckets, *labels: str) -> None:
        """The durations of `name` for these values of its labels."""
        family = self._families[name]
        assert isinstance(family, HistogramMetricFamily)
        family.add_metric(labels, buckets.cumulative(), buckets.sum)

    def collect(self) -> Iterator[Metric]:
        """The client library asks for them."""
        return iter(self._families.values())

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self)


def _family(named: Named) -> Metric:
    match named.kind:
        case "gauge":
            return GaugeMetricFamily(named.name, named.help, labels=named.labels)
        case "counter":
            return CounterMetricFamily(named.name, named.help, labels=named.labels)
        case "histogram":
            return HistogramMetricFamily(named.name, named.help, labels=named.labels)
