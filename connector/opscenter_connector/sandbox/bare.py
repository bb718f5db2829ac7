"""Layer C: no boundary. Bounds hold, and the end of the whole tree; the rest is a person's word."""

from collections.abc import Sequence
from pathlib import Path

from opscenter_connector.confined.order import Bounds, Order
from opscenter_connector.sandbox import shell


def order(
    *,
    command: str,
    cwd: Path,
    roots: Sequence[Path],
    home: Path,
    bounds: Bounds,
    before: Sequence[str] = (),
) -> Order:
    """`before` is a program that confines what follows it, where there is one."""
    script = shell.script(command, blobs_before=0)
    return Order(
        argv=(*before, *script.argv),
        env=shell.environment(str(home), str(home / "tmp")),
        cwd=str(cwd),
        bounds=bounds,
        watched=(*map(str, roots), str(home)),
        blobs=() if script.blob is None else (script.blob,),
        scratch=str(home),
        counts_others=True,
    )
