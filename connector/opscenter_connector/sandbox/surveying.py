"""The self-test at the start: which layer holds here, and why no better one does."""

from collections.abc import Sequence
from pathlib import Path

from opscenter_connector.sandbox import machine, places
from opscenter_connector.sandbox.layers import Layer, SandboxError, Standing


async def survey(
    roots: Sequence[Path], *, forced: Layer | None = None, quarantine: Path | None = None
) -> Standing:
    """The best layer, or exactly the one that is `forced`. Never a worse one in silence."""
    known = tuple(places.root(path) for path in roots)
    try:
        machine.seen()
    except SandboxError as error:
        return Standing(layer=Layer.NONE, why=str(error), roots=known, quarantine=quarantine)
    return Standing(layer=Layer.BUBBLEWRAP, roots=known, quarantine=quarantine)
