"""What a soak sees of each process every few seconds, and the slope of it."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import linear_regression
from time import monotonic

from bench import proc

EVERY_S = 10.0
LEAST = 3  # looks, of which a line can be told
KINDS = {"manage.py\0serve": "parent", "spawn_main": "worker", "resource_tracker": "tracker"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One process at one moment."""

    at_s: float  # since the beginning of the soak
    resident_kib: int
    threads: int
    files: int
    cpu_s: float


@dataclass(slots=True)
class Watch:
    """Looks at all processes of a server until it is cancelled."""

    root: int
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    _began_s: float = field(default_factory=monotonic)

    async def run(self) -> None:
        while True:
            at_s = monotonic() - self._began_s
            for pid in proc.tree(self.root):
                with suppress(OSError):  # it has ended meanwhile
                    self.samples.setdefault(pid, []).append(_sample(pid, at_s))
            await asyncio.sleep(EVERY_S)

    def keep(self, file: Path) -> None:
        """All that was seen, for whoever wants to look closer."""
        file.parent.mkdir(parents=True, exist_ok=True)
        looks = {pid: [asdict(one) for one in seen] for pid, seen in self.samples.items()}
        file.write_text(json.dumps(looks))

    def trends(self, *, after_s: float) -> dict[str, "Trend"]:
        """Of each process that has lived through it all."""
        return {
            f"{_kind_of(pid)} {pid}": trend(self.samples[pid], after_s=after_s)
            for pid in proc.tree(self.root)
            if len([one for one in self.samples.get(pid, ()) if one.at_s >= after_s]) > LEAST
        }


def _sample(pid: int, at_s: float) -> Sample:
    fields = proc.status(pid)
    return Sample(
        at_s=at_s,
        resident_kib=int(fields.get("VmRSS", "0 kB").split()[0]),
        threads=int(fields["Threads"]),
        files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        cpu_s=proc.own_cpu_s(pid),
    )


def _kind_of(pid: int) -> str:
    """What a process of the gateway is."""
    command = Path(f"/proc/{pid}/cmdline").read_text()
    return next((kind for mark, kind in KINDS.items() if mark in command), "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Where a process's memory goes, after the warm-up."""

    first_mib: float
    last_mib: float
    slope_kib_min: float
    error_kib_min: float  # of the slope: its standard error
    threads: tuple[int, int]  # at the first and at the last look
    files: tuple[int, int]
    cpu_share: float  # of a core


def trend(samples: Sequence[Sample], *, after_s: float) -> Trend:
    """Least squares over what was seen from `after_s` on; of three looks at least."""
    seen = [one for one in samples if one.at_s >= after_s]
    at = [one.at_s / 60 for one in seen]
    kib = [one.resident_kib for one in seen]
    slope, start = linear_regression(at, kib)
    middle = sum(at) / len(at)
    around = sum((one - middle) ** 2 for one in at)
    apart = sum((y - start - slope * x) ** 2 for x, y in zip(at, kib, strict=True))
    first, last = seen[0], seen[-1]
    return Trend(
        first_mib=first.resident_kib / 1024,
        last_mib=last.resident_kib / 1024,
        slope_kib_min=slope,
        error_kib_min=(apart / (len(seen) - 2) / around) ** 0.5,
        threads=(first.threads, last.threads),
        files=(first.files, last.files),
        cpu_share=(last.cpu_s - first.cpu_s) / (last.at_s - first.at_s),
    )
