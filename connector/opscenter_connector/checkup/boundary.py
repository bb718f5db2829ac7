"""What holds an agent's commands on this machine: the layer, and its self-test."""

from opscenter_connector.checkup.steps import OK, WARNING, Finding
from opscenter_connector.sandbox import Layer, Standing
from opscenter_connector.settings import AUTO

KINDS = {
    Layer.BUBBLEWRAP: "bubblewrap, with a filter of system calls",
    Layer.LANDLOCK: "Landlock, with a filter of system calls",
    Layer.SEATBELT: "Seatbelt, which is not proven",
    Layer.NONE: "none",
}
INSTALL = ("sudo apt-get install bubblewrap    # or your system's own way",)


def found(standing: Standing, *, demanded: str = AUTO) -> Finding:
    """What a person reads of it. `demanded` is the layer that their configuration says."""
    held = [canary.name for canary in standing.canaries if canary.held]
    not_held = [canary.name for canary in standing.canaries if not canary.held]
    seen = KINDS[standing.layer]
    if held:
        seen += f"; self-test: {', '.join(held)} held"
    if not_held:
        seen += f"; not held: {', '.join(not_held)}"
    if standing.layer is Layer.BUBBLEWRAP:
        return Finding(state=OK, seen=seen)
    why, fix = standing.why or "bubblewrap would hold more", INSTALL
    if demanded != AUTO:
        line = f'sandbox = "{demanded}"'
        why = f"{line} is set in [local], so that no better one is tried"
        fix = (f"remove {line} from [local] in connector.toml",)
    if standing.layer is Layer.NONE:
        why += "; each command waits for a person who approves it"
    return Finding(state=WARNING, seen=seen, why=why, fix=fix)
