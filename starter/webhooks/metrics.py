"""What Prometheus sees of the webhook server."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """`registry` is what /metrics shows. Labels are configured names only, never anything that a request says."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            "failover_webhook_deliveries",
            "Deliveries by sender and status of the answer.",
            ["sender", "status"],
            registry=self.registry,
        )
        self.alerts = Counter(
            "failover_webhook_alerts",
            "Alerts by sender and what was done: started, joined, noted, ignored, repeated.",
            ["sender", "did"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "failover_webhook_seconds",
            "From a delivery's arrival to its answer.",
            ["sender"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.orders = Counter(
            "failover_orders",
            "Orders to runs, by door, verb and whether they were accepted.",
            ["door", "verb", "accepted"],
            registry=self.registry,
        )
