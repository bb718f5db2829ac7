"""This machine: where the state lies, and the local servers."""

from opscenter_connector import instance
from opscenter_connector.checkup.steps import FAILED, OK, Finding, Patient, Step
from opscenter_connector.config import Config


async def state(patient: Patient) -> Finding:
    """Whether instance and journal can be written, and nobody else writes them."""
    folder = patient.config.settings.state_dir
    if instance.in_use(folder):
        return Finding(state=OK, seen=f"{folder}, in use by a connector that runs")
    try:
        with instance.locked(folder):
            instance.instance(folder)
    except instance.StateDirError as error:
        return Finding(
            state=FAILED,
            seen=str(error),
            why="the journal is what keeps a call from running twice",
            fix=(f"ls -ld {folder}", "ops-connector doctor --state-dir ~/opscenter-state"),
        )
    return Finding(state=OK, seen=str(folder))


def server_steps(config: Config) -> tuple[Step, ...]:
    return ()
