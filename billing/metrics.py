"""What is counted of the ledger's work: batches of the writer, refusals by a limit, the outbox."""

from dataclasses import dataclass

from prometheus_client import Counter, Histogram

batch_rows = Histogram(
    "opscenter_writer_batch_rows",
    "Rows that the ledger's writer commits in one transaction",
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500),
)
commit_seconds = Histogram(
    "opscenter_writer_commit_seconds",
    "Seconds that one transaction of the ledger's writer takes",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 10),
)
lag_seconds = Histogram(
    "opscenter_writer_lag_seconds",
    "Seconds from the oldest row of a batch to the end of its transaction",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 10, 60),
)
failed_rows = Counter(
    "opscenter_writer_failed_rows", "Rows that a transaction of the ledger's writer did not take"
)
_refused = Counter(
    "opscenter_limits_refused",
    "Requests that a limit refused",
    ["limit", "period"],
)


def refused(limit: str, period: str) -> None:
    """A request was refused for want of requests, tokens or cost in a minute, day or month."""
    _refused.labels(limit, period).inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One transaction of the writer, tried."""

    rows: int
    failed: int
    commit_s: float
    lag_s: float


def committed(batch: Batch) -> None:
    """Count it."""
    batch_rows.observe(batch.rows)
    commit_seconds.observe(batch.commit_s)
    lag_seconds.observe(batch.lag_s)
    if batch.failed:
        failed_rows.inc(batch.failed)
