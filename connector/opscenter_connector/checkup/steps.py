"""What a step is, and how steps follow each other: one whose ground is missing is not tried."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

import httpx

from opscenter_connector.config import Config

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "not tried"

STEP_S = (
    90.0  # a local server may have to be downloaded; steps of the network have bounds of theirs
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a step saw. `fix` is what to type or to write, one line each."""

    state: str
    seen: str
    why: str = ""
    fix: tuple[str, ...] = ()
    step: str = ""


@dataclass(slots=True, kw_only=True)
class Patient:
    """What is examined, and what earlier steps have learnt of it."""

    config: Config
    proxy: SplitResult | None = None
    health: httpx.Response | None = None
    asked_at_s: float = 0.0  # of the wall, in the middle of that request
    account: httpx.Response | None = None

    @property
    def url(self) -> SplitResult:
        return urlsplit(self.config.settings.api_url)

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.is_tls else 80)

    @property
    def host(self) -> str:
        return self.url.hostname or ""

    @property
    def is_tls(self) -> bool:
        return self.url.scheme in {"https", "wss"}


Check = Callable[[Patient], Awaitable[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to look at. `needs` names the steps that must not have failed before it."""

    name: str
    check: Check
    needs: tuple[str, ...] = ()
    within_s: float = STEP_S


async def examine(steps: Sequence[Step], patient: Patient) -> AsyncIterator[Finding]:
    """Each step's finding, as soon as it is there."""
    states: dict[str, str] = {}
    for step in steps:
        ground = next((n for n in step.needs if states.get(n) in {FAILED, SKIPPED}), None)
        if ground is None:
            finding = await _tried(step, patient)
        else:
            finding = Finding(state=SKIPPED, seen=f"not tried: {ground} comes first")
        states[step.name] = finding.state
        yield replace(finding, step=step.name)


async def _tried(step: Step, patient: Patient) -> Finding:
    try:
        return await asyncio.wait_for(step.check(patient), step.within_s)
    except asyncio.TimeoutError:
        return Finding(state=FAILED, seen=f"no answer within {step.within_s:.0f} s")
    except Exception as error:
        # Whatever a broken network or server makes a library raise: the other steps still count.
        return Finding(state=FAILED, seen=f"{type(error).__name__}: {error}")
