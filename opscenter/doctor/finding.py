"""What a check found, and how it is run: in a bounded time, whatever hangs."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue

from django.db import connections

CHECK_S = 5.0  # a neighbour that needs longer is not well, and somebody is waiting


class Verdict(StrEnum):
    """How a check ended. Only what FAILS makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAILS = "fails"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table. `help` says what to do, `docs` where more is."""

    check: str
    verdict: Verdict
    text: str
    help: str = ""
    docs: str = ""

    def as_dict(self) -> dict[str, str]:
        """For machines."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something to look at. `look` blocks for `within_s` at most, or is left behind."""

    name: str
    look: Callable[[], Finding]
    docs: str
    within_s: float = CHECK_S


def good(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check=check, verdict=Verdict.OK, text=text)


def skipped(check: str, text: str) -> Finding:
    """There is nothing to look at."""
    return Finding(check=check, verdict=Verdict.SKIPPED, text=text)


def warns(check: str, text: str, help: str, docs: str) -> Finding:  # noqa: A002  (the field)
    """It works, but somebody should look."""
    return Finding(check=check, verdict=Verdict.WARN, text=text, help=help, docs=docs)


def fails(check: str, text: str, help: str, docs: str) -> Finding:  # noqa: A002  (the field)
    """It does not work."""
    return Finding(check=check, verdict=Verdict.FAILS, text=text, help=help, docs=docs)


def run(checks: Sequence[Check]) -> list[Finding]:
    """All of them at once, in their order; what is not back in time fails."""
    started = time.monotonic()
    answers = [_begun(check) for check in checks]
    findings = []
    for check, answer in zip(checks, answers, strict=True):
        left = max(started + check.within_s - time.monotonic(), 0.01)
        try:
            findings.append(answer.get(timeout=left))
        except Empty:
            text = f"It did not answer within {check.within_s:.0f} seconds."
            findings.append(fails(check.name, text, "See whether it hangs.", check.docs))
    return findings


def _begun(check: Check) -> SimpleQueue[Finding]:
    answer: SimpleQueue[Finding] = SimpleQueue()

    def look() -> None:
        try:
            answer.put(check.look())
        except Exception as error:  # one check that breaks must not take the table along
            # Its kind alone: the text may hold an address with a password in it.
            text = f"The check itself broke: {type(error).__name__}."
            answer.put(fails(check.name, text, "Look at the database line first.", check.docs))
        finally:
            connections.close_all()

    # A daemon: a look that hangs must not keep the command from ending.
    threading.Thread(target=look, name=f"doctor {check.name}", daemon=True).start()
    return answer
