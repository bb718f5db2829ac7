"""One command from the text to its outcome: planned, started, drained, ended, swept."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from opscenter_connector.sandbox import places, planning, shell
from opscenter_connector.sandbox.draining import Draining
from opscenter_connector.sandbox.guarding import Guarding
from opscenter_connector.sandbox.layers import Limits, Outcome, Standing
from opscenter_connector.sandbox.nursery import NURSERY
from opscenter_connector.sandbox.planning import Wanted


async def run(
    standing: Standing,
    roots: Sequence[Path],
    command: str,
    *,
    cwd: Path,
    within_s: float,
    limits: Limits | None = None,
) -> Outcome:
    """What came of it. Nothing of it runs any more. Raises SandboxError where it was not run."""
    limits = limits or Limits()
    began_s = time.monotonic()
    known = standing.roots
    allowed = [places.known(path, known) if known else places.root(path) for path in roots]
    where = places.below(cwd, allowed)
    bounds = shell.bounds(limits, within_s)
    shell.script(command, blobs_before=0)  # what no shell takes is refused before anything is done
    async with Guarding(standing, allowed) as guarding:
        wanted = Wanted(
            command=command, cwd=where, roots=allowed, guarded=guarding.guarded, bounds=bounds
        )
        with planning.planned(standing.layer, wanted) as plan:
            child = NURSERY.start(plan.order, plan.files)
            outcome = await Draining(child, limits).outcome()
    return replace(
        outcome,
        layer=standing.layer,
        quarantined=tuple(guarding.quarantined),
        planted=tuple(guarding.left),
        duration_s=time.monotonic() - began_s,
    )
