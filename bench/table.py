"""The figures of the bench, their targets, and the table that shows both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from statistics import median

Figures = Mapping[str, float]
TITLES = {
    "floor": "Floor",
    "ours": "Ours, SQLite",
    "ours1": "Ours, PostgreSQL + Redis",
    "ours2": "… 2 workers",
    "litellm": "LiteLLM",
    "litellm2": "… 2 workers",
}
SYSTEMS = tuple(TITLES)
OURS = ("ours", "ours1", "ours2")
JUDGED = {
    "ours": "SQLite",
    "ours1": "PostgreSQL + Redis",
    "ours2": "PostgreSQL + Redis, 2 workers",
}
PEER_OF = {"ours2": "litellm2"}  # of all others it is the one with a single worker
TIMES = "\N{MULTIPLICATION SIGN}"
UNKNOWN = "not measured"
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to reach: at most or at least so much, of our figure or of a ratio (see `ratio`)."""

    reach: float
    ambition: float
    against: str = ""  # a system, if a ratio is meant
    least: bool = False
    unit: str = ""

    def text(self) -> str:
        sign = "≥" if self.least else "≤"
        unit = f"{TIMES} {TITLES[self.against]}" if self.against else self.unit
        further = "" if self.reach == self.ambition else f" ({self.ambition:g})"
        return f"{sign} {self.reach:g}{unit}{further}"

    def judge(self, value: float) -> str:
        if not self._met(value, self.reach):
            return "**no**"
        further = self.reach != self.ambition and self._met(value, self.ambition)
        return "yes, and the ambition" if further else "yes"

    def _met(self, value: float, goal: float) -> bool:
        return value >= goal if self.least else value <= goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of every system."""

    key: str
    title: str
    digits: int = 1
    targets: tuple[Target, ...] = ()


def over_floor(reach: float, ambition: float) -> Target:
    return Target(reach=reach, ambition=ambition, against="floor")


def over_peer(reach: float, ambition: float) -> Target:
    return Target(reach=reach, ambition=ambition, against="litellm", least=True)


ROWS = (
    Row(
        key="small.cpu_ms",
        title="small body: CPU ms per request",
        digits=3,
        targets=(over_floor(4.5, 3), over_peer(20, 30)),
    ),
    Row(key="small.stores_ms", title="… of PostgreSQL and Redis beside it", digits=3),
    Row(key="small.rps", title="… requests/s", digits=0),
    Row(key="small.p50_ms", title="… p50 ms"),
    Row(key="small.p99_ms", title="… p99 ms"),
    Row(
        key="large.cpu_ms",
        title="large body: CPU ms per request",
        digits=3,
        targets=(over_floor(4, 2.5), over_peer(25, 50)),
    ),
    Row(key="large.stores_ms", title="… of PostgreSQL and Redis beside it", digits=3),
    Row(key="large.rps", title="… requests/s", digits=0),
    Row(key="large.p50_ms", title="… p50 ms"),
    Row(key="large.p99_ms", title="… p99 ms"),
    Row(
        key="stream.cpu_us_event",
        title="16 streams: CPU µs per chunk",
        targets=(over_floor(1.8, 1.3),),
    ),
    Row(key="stream.stores_us_event", title="… of PostgreSQL and Redis beside it"),
    Row(
        key="stream.added_p50_ms",
        title="… added TTFT p50 ms",
        digits=2,
        targets=(Target(reach=4, ambition=2, unit=" ms"),),
    ),
    Row(key="stream.added_p99_ms", title="… added TTFT p99 ms", digits=2),
    Row(
        key="held.served",
        title="1,000 held streams: served",
        digits=0,
        targets=(Target(reach=1000, ambition=1000, least=True),),
    ),
    Row(key="held.ttft_p50_ms", title="… TTFT p50 ms"),
    Row(
        key="held.ttft_p95_ms",
        title="… TTFT p95 ms",
        targets=(Target(reach=25, ambition=10, unit=" ms"),),
    ),
    Row(key="held.ttft_p99_ms", title="… TTFT p99 ms"),
    Row(
        key="held.growth_kib",
        title="… peak growth KiB per stream",
        targets=(Target(reach=60, ambition=40, unit=" KiB"),),
    ),
    Row(
        key="held.threads",
        title="… threads",
        digits=0,
        # Far below one for each stream; a pool's own threads are no fault.
        targets=(Target(reach=50, ambition=50),),
    ),
    Row(key="held.cpu_us_event", title="… CPU µs per chunk"),
    Row(
        key="idle.worker_mib",
        title="idle: resident MiB of a worker",
        digits=0,
        targets=(Target(reach=120, ambition=80, unit=" MiB"),),
    ),
    Row(key="idle.mib", title="… of all processes", digits=0),
)


def medians(rounds: Sequence[Figures]) -> dict[str, float]:
    """The middle of each figure over the rounds."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {name: median(f[name] for f in rounds if name in f) for name in names}


def spread(rounds: Mapping[str, Sequence[Figures]]) -> str:
    """How far the primary figure moved from round to round: what noise the table was taken in."""
    key = ROWS[0].key
    ranges = [
        f"{TITLES[name]} {min(f[key] for f in seen):.3f} to {max(f[key] for f in seen):.3f}"
        for name, seen in rounds.items()
    ]
    return f"Over the rounds, {ROWS[0].title} lay at: {', '.join(ranges)}."


def ratio(row: Row, systems: Mapping[str, Figures], ours: str, against: str) -> float | None:
    """By how many times the floor is better than ours, or ours better than the peer."""
    other = against if against == "floor" else PEER_OF.get(ours, against)
    own, others = (systems.get(name, {}).get(row.key) for name in (ours, other))
    if own is None or others is None:
        return None
    return own / others if against == "floor" else others / own


def render(systems: Mapping[str, Figures]) -> str:
    """All figures in Markdown. A system that was not measured has no column."""
    present = [name for name in SYSTEMS if name in systems]
    lines = [["Figure", *(TITLES[name] for name in present)], ["---"] + ["---:"] * len(present)]
    for row in ROWS:
        found = [systems[name].get(row.key) for name in present]
        lines.append([row.title, *(_number(value, row.digits) for value in found)])
    return _table(lines)


def render_targets(systems: Mapping[str, Figures]) -> str:
    """What is to be reached, by each way that ours was run."""
    present = [name for name in OURS if name in systems]
    lines = [["To reach (ambition)", *(JUDGED[name] for name in present)]]
    lines.append(["---"] + ["---"] * len(present))
    for row, title in zip(ROWS, full_titles(), strict=True):
        for target in row.targets:
            cells = [_judged(row, target, systems, name) for name in present]
            lines.append([f"{title}: {target.text()}", *cells])
    return _table(lines)


def full_titles() -> list[str]:
    """Those of the rows, each with what an ellipsis stands for."""
    titles, of = [], ""
    for row in ROWS:
        if not row.title.startswith(ELLIPSIS):
            of = row.title.partition(": ")[0]
        titles.append(row.title.replace(ELLIPSIS, f"{of}:"))
    return titles


def _judged(row: Row, target: Target, systems: Mapping[str, Figures], name: str) -> str:
    value = systems[name].get(row.key)
    if target.against:
        value = ratio(row, systems, name, target.against)
    if value is None:
        return UNKNOWN
    shown = _number(value, 1, TIMES) if target.against else _number(value, row.digits)
    return f"{shown}: {target.judge(value)}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float | None, digits: int, unit: str = "") -> str:
    if value is None:
        return UNKNOWN
    return "∞" if isinf(value) else f"{value:,.{digits}f}{unit}"
