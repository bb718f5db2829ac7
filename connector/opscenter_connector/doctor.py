"""`ops-connector doctor`: tries every step, and says what to do about what fails."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from opscenter_connector.checkup import builtin, gateway, machine, network, rules
from opscenter_connector.checkup.steps import (
    FAILED,
    OK,
    SKIPPED,
    WARNING,
    Finding,
    Patient,
    Step,
    examine,
)
from opscenter_connector.config import Config
from opscenter_connector.endings import ExitCode
from opscenter_connector.plain import clean
from opscenter_connector.wording import counted

NAME_CHARS = 12  # a server's longer name takes a second line
MARK = {
    OK: ("✔", "green"),
    WARNING: ("!", "yellow"),
    FAILED: ("✖", "bold red"),
    SKIPPED: ("-", "dim"),
}

STEPS = (
    Step(name="proxy", check=network.proxy),
    Step(name="name", check=network.dns, needs=("proxy",)),
    Step(name="port", check=network.tcp, needs=("name",)),
    Step(name="TLS", check=network.tls, needs=("port",)),
    Step(name="gateway", check=gateway.http, needs=("TLS", "port")),
    Step(name="clock", check=gateway.clock, needs=("gateway",)),
    Step(name="key", check=gateway.key_shape),
    Step(name="key taken", check=gateway.accepted, needs=("gateway", "key")),
    Step(name="scope", check=gateway.scope, needs=("key taken",)),
    Step(name="WebSocket", check=gateway.websocket, needs=("scope",)),
    Step(name="poll", check=gateway.poll, needs=("scope",)),
    Step(name="state", check=machine.state),
)


def main(config: Config, given: Mapping[str, Any]) -> int:
    """All steps; exit code 1 if one has failed."""
    steps = (*STEPS, *builtin.steps(config), rules.STEP, *machine.server_steps(config))
    findings = asyncio.run(_all(steps, Patient(config=config), quiet="json" in given))
    failed = [finding for finding in findings if finding.state == FAILED]
    if "json" in given:
        said = {"ok": not failed, "steps": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(said, indent=2) + "\n")
    else:
        _sum_up(findings)
    return ExitCode.FAILED if failed else ExitCode.STOPPED


async def _all(steps: Sequence[Step], patient: Patient, *, quiet: bool) -> list[Finding]:
    console = Console(highlight=False)
    findings = []
    async for finding in examine(steps, patient):
        findings.append(finding)
        if not quiet:
            _show(console, finding)
    return findings


def _show(console: Console, finding: Finding) -> None:
    mark, style = MARK[finding.state]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(width=NAME_CHARS, overflow="fold")
    grid.add_column(overflow="fold")
    dim = "dim" if finding.state == SKIPPED else ""
    grid.add_row(Text(mark, style), Text(finding.step, "bold"), Text(clean(finding.seen), dim))
    if finding.why:
        grid.add_row("", Text("  why", "dim"), Text(finding.why))
    for number, line in enumerate(finding.fix):
        grid.add_row("", Text("" if number else "  fix", "dim"), Text(line, "cyan"))
    console.print(grid)


def _sum_up(findings: Sequence[Finding]) -> None:
    failed = sum(finding.state == FAILED for finding in findings)
    warned = sum(finding.state == WARNING for finding in findings)
    if failed:
        text, style = f"{counted(failed, 'step')} failed.", "bold red"
    elif warned:
        text, style = "No step failed.", "bold yellow"
    else:
        text, style = "Everything is well.", "bold green"
    if warned:
        text += f" {counted(warned, 'warning')}."
    Console(highlight=False).print(text, style=style)
