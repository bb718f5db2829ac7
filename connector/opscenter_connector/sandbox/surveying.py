"""The self-test at the start: which layer holds here, and why no better one does."""

import sys
from collections.abc import Sequence
from pathlib import Path

from opscenter_connector.confined import landlock
from opscenter_connector.sandbox import canaries, landlocked, machine, places, seatbelt
from opscenter_connector.sandbox.layers import Canary, Layer, SandboxError, Standing
from opscenter_connector.sandbox.running import run

BEST_FIRST = (Layer.BUBBLEWRAP, Layer.LANDLOCK, Layer.SEATBELT, Layer.NONE)


async def survey(
    roots: Sequence[Path],
    *,
    forced: Layer | None = None,
    at_least: Layer | None = None,
    quarantine: Path | None = None,
) -> Standing:
    """The best layer that holds, with why no better one does.

    Raises SandboxError where a folder cannot be used, or the layer that is asked for does not hold.
    """
    known = tuple(places.root(path) for path in roots)
    candidates = BEST_FIRST if forced is None else (forced,)
    said: list[str] = []
    for layer in candidates:
        found = await _tried(layer, said)
        if found is not None:
            break
    else:
        raise SandboxError(f"the sandbox {candidates[0].value} does not hold here: {said[-1]}")
    if at_least is not None and BEST_FIRST.index(found.layer) > BEST_FIRST.index(at_least):
        raise SandboxError(f"no sandbox as good as {at_least.value} holds here: {'; '.join(said)}")
    return Standing(
        layer=found.layer,
        canaries=found.canaries,
        why="; ".join(said),
        roots=known,
        quarantine=quarantine,
    )


async def _tried(layer: Layer, said: list[str]) -> Standing | None:
    """The layer if it holds; what keeps it from that is added to `said`.

    One that is not there gives way to the next. One that is there and leaks gives way to none: then
    something is wrong with this machine or with us, and nothing is to be relied on.
    """
    if layer is Layer.NONE or any("leaks" in text for text in said):
        return Standing(layer=Layer.NONE) if layer is Layer.NONE else None
    try:
        problem = _missing(layer)
        if problem:
            said.append(problem)
            return None
        found = await _tested(layer)
    except SandboxError as error:
        said.append(f"{layer.value}: {error}")
        return None
    let_through = [one for one in found if not one.held and one.name not in _known_gaps(layer)]
    if any(one.name == "runs" for one in let_through):
        said.append(f"{layer.value}: {let_through[0].detail}")
        return None
    if let_through:
        names = ", ".join(one.name for one in let_through)
        said.append(f"{layer.value} leaks ({names}), so no sandbox is trusted on this machine")
        return None
    if _known_gaps(layer) and not all(one.held for one in found):
        said.append(
            "this kernel's Landlock cannot keep a command from sending signals to your other "
            "programs; Linux 6.12 can"
        )
    return Standing(layer=layer, canaries=found)


async def _tested(layer: Layer) -> tuple[Canary, ...]:
    with canaries.cage() as cage:
        outcome = await run(
            Standing(layer=layer),
            [cage.inside],
            cage.command,
            cwd=cage.inside,
            within_s=canaries.TEST_S,
        )
        return canaries.judged(cage, outcome)


def _known_gaps(layer: Layer) -> frozenset[str]:
    if layer is Layer.LANDLOCK and landlock.abi() < landlocked.WANTED_ABI:
        return frozenset({"signals"})
    return frozenset()


def _missing(layer: Layer) -> str:
    """What this machine lacks for the layer, and what a person can do about it."""
    linux = sys.platform == "linux"
    if layer is Layer.BUBBLEWRAP:
        return "" if linux else "bubblewrap is for Linux"
    if layer is Layer.LANDLOCK:
        return _no_landlock() if linux else "Landlock is for Linux"
    if sys.platform != "darwin":
        return "Seatbelt is for macOS"
    return "" if Path(seatbelt.PROGRAM).exists() else f"{seatbelt.PROGRAM} is not there"


def _no_landlock() -> str:
    abi = landlock.abi()
    if abi == 0:
        return (
            "Landlock is not in this kernel or is turned off; Linux 6.2 has it, and the kernel's "
            "parameter lsm= turns it on"
        )
    if abi < landlocked.LEAST_ABI:
        return f"this kernel's Landlock (version {abi}) is too old; Linux 6.2 has version 3"
    return machine.no_landlock_for_root()
