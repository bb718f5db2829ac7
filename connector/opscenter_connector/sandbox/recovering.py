"""At the start: what commands left behind that ran when the connector was killed."""

from opscenter_connector.sandbox import guard, places
from opscenter_connector.sandbox.guarding import swept
from opscenter_connector.sandbox.layers import SandboxError, Standing, Swept
from opscenter_connector.sandbox.quarantine import Sweep


def recover(standing: Standing) -> list[Swept]:
    """Before the first command: in every allowed folder. Nothing where nothing was cut off."""
    found: list[Swept] = []
    if standing.notes is None:
        return found
    for root in standing.roots:
        try:
            with places.opened([root]) as (folder,):
                sweep = Sweep(folder, standing.quarantine)
                guard.of(root).recover(sweep, standing.notes)
        except SandboxError:  # gone, or too large: a command there is told the same
            continue
        found += swept(root, sweep)
    return found
