"""One command from the text to its outcome: planned, started, drained, ended, swept."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from opscenter_connector.sandbox import places, planning, shell
from opscenter_connector.sandbox.draining import Draining
from opscenter_connector.sandbox.guarding import Guarding
from opscenter_connector.sandbox.layers import Limits, Outcome, Standing, Swept
from opscenter_connector.sandbox.nursery import NURSERY
from opscenter_connector.sandbox.planning import Wanted


def _nobody(_: Sequence[Swept]) -> None:
    """Whoever runs it reads the outcome."""


async def run(
    standing: Standing,
    roots: Sequence[Path],
    command: str,
    *,
    cwd: Path,
    within_s: float,
    limits: Limits | None = None,
    told: Callable[[Sequence[Swept]], None] = _nobody,
) -> Outcome:
    """What came of it. Nothing of it runs any more. Raises SandboxError where it was not run.

    What it left behind is told in any case: a call that is cancelled has no outcome.
    """
    limits = limits or Limits()
    began_s = time.monotonic()
    known = standing.roots
    allowed = [places.known(path, known) if known else places.root(path) for path in roots]
    where = places.below(cwd, allowed)
    bounds = shell.bounds(limits, within_s)
    shell.script(command, blobs_before=0)  # what no shell takes is refused before anything is done
    guarding = Guarding(standing, allowed)
    try:
        async with guarding:
            wanted = Wanted(
                command=command, cwd=where, roots=allowed, guarded=guarding.guarded, bounds=bounds
            )
            with planning.planned(standing.layer, wanted) as plan:
                child = NURSERY.start(plan.order, plan.files)
                outcome = await Draining(child, limits).outcome()
    finally:
        told(guarding.swept)
    moved = [one for one in guarding.swept if one.place]
    return replace(
        outcome,
        layer=standing.layer,
        quarantined=tuple(one.path for one in moved),
        places=tuple(one.place for one in moved),
        planted=tuple(one.path for one in guarding.swept if not one.place),
        duration_s=time.monotonic() - began_s,
    )
