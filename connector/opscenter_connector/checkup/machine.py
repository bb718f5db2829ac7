"""This machine: where the state lies, and the local servers."""

import shlex

from opscenter_connector import instance, trial
from opscenter_connector.checkup.steps import FAILED, OK, WARNING, Check, Finding, Patient, Step
from opscenter_connector.config import Config
from opscenter_connector.plain import clean
from opscenter_connector.settings import ServerSpec
from opscenter_connector.wording import counted


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
            fix=(
                f"ls -ld {shlex.quote(str(folder))}",
                "ops-connector doctor --state-dir ~/opscenter-state",
            ),
        )
    return Finding(state=OK, seen=str(folder))


def server_steps(config: Config) -> tuple[Step, ...]:
    """One for each local server."""
    specs = config.settings.servers
    if not trial.fronted(config.settings):
        return (Step(name="servers", check=_none),)
    return tuple(
        Step(name=f"server {spec.name}", check=_starts(spec), within_s=trial.bound_s(spec) + 5)
        for spec in specs
    )


async def _none(_: Patient) -> Finding:
    return Finding(
        state=WARNING,
        seen="none is configured, and no path is allowed",
        why="the connector connects, and has no tool to offer",
        fix=(
            "ops-connector doctor --mcp-config .mcp.json",
            "ops-connector doctor --allowed-paths ~/src/project",
            "ops-connector init",
        ),
    )


def _starts(spec: ServerSpec) -> Check:
    async def check(_: Patient) -> Finding:
        """Whether it starts and lists its tools."""
        found = await trial.tried(spec)
        if found.state == "ready":
            return Finding(
                state=WARNING if found.error else OK,
                seen=f"starts, {counted(len(found.tools), 'tool')}, MCP {found.era}",
                why=found.error,
            )
        return Finding(
            state=FAILED,
            seen=f"does not start: {clean(found.error)}",
            why="its tools are not offered until it does",
            fix=_by_hand(spec),
        )

    return check


def _by_hand(spec: ServerSpec) -> tuple[str, ...]:
    """What to type to see it fail; its environment may hold secrets and is not shown."""
    if spec.url:
        return (f"curl -i {shlex.quote(spec.url)}",)
    command = shlex.join([spec.command, *spec.args])
    return (f"cd {shlex.quote(str(spec.cwd or '.'))} && {command}",)
