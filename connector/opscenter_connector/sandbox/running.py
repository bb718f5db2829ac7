"""One command from the text to its outcome: planned, started, drained, ended."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from opscenter_connector.confined.order import Bounds, Order
from opscenter_connector.sandbox import bubblewrap, machine, places, shell
from opscenter_connector.sandbox.draining import Draining
from opscenter_connector.sandbox.layers import (
    Layer,
    Limits,
    Outcome,
    Root,
    SandboxError,
    Standing,
)
from opscenter_connector.sandbox.nursery import NURSERY


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
    known = {one.path: one for one in standing.roots}
    allowed = [known.get(path) or places.root(path) for path in roots]
    where = places.below(cwd, allowed)
    bounds = shell.bounds(limits, within_s)
    with places.opened(allowed) as folders:
        child = NURSERY.start(_order(standing.layer, allowed, command, where, bounds), folders)
    outcome = await Draining(child, limits).outcome()
    return replace(outcome, layer=standing.layer, duration_s=time.monotonic() - began_s)


def _order(layer: Layer, roots: Sequence[Root], command: str, cwd: Path, bounds: Bounds) -> Order:
    paths = [one.path for one in roots]
    if layer is Layer.BUBBLEWRAP:
        return bubblewrap.order(
            machine.seen(),
            command=command,
            cwd=cwd,
            roots=paths,
            read_only=(),
            mounted=(),
            bounds=bounds,
        )
    raise SandboxError(f"commands cannot be run in layer {layer.value} here")
