"""The tool `bash`: a command, held by the sandbox, to the end of the last process it started."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opscenter_connector import sandbox
from opscenter_connector.local import regular
from opscenter_connector.local.answers import Answer, answer, text
from opscenter_connector.local.defining import (
    PATH,
    Arguments,
    Tool,
    listed,
    string,
    whole,
)
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.mistakes import ToolError
from opscenter_connector.sandbox import Ended, Layer, Outcome, SandboxError, Standing, Swept

DEFAULT_S = 30  # as the earlier connector's
MAX_S = 600  # the tunnel's longest deadline
MAX_COMMAND = 1_500_000  # characters; with what is around it, a frame of the tunnel

CONFINED = "It runs in a sandbox: no network, and it writes in the allowed folders only."
UNCONFINED = "There is no sandbox on this machine: a person is asked before each command."
WHY = {
    Ended.TIMEOUT: "it was ended after {seconds:.0f} s: give it a longer timeout, or less to do",
    Ended.OUTPUT: "it was ended because it wrote too much: send its output to a file",
    Ended.DISK: "it was ended because it took too much of the disk",
    Ended.MEMORY: "it was ended because it took too much memory",
    Ended.PROCESSES: "it was ended because it started too many processes",
    Ended.STOPPED: "it was stopped",
}


def _nobody(_: Sequence[Swept]) -> None:
    """It stands in the result."""


def tool(
    standing: Standing,
    objection: Callable[[str], str | None],
    swept: Callable[[Sequence[Swept]], None] = _nobody,
) -> Tool:
    """The tool, for what holds commands here. `objection` says what is plainly destructive.

    `swept` is told, on the loop, what a command left and where it was put.
    """

    async def wait(errand: Errand, arguments: Arguments) -> Answer:
        """Run it."""
        command = arguments["command"]
        if reason := objection(command):
            raise ToolError(f"{reason}. If that is what is wanted, ask the person to do it")
        spot = errand.roots.find(arguments.get("cwd", "."))
        with regular.folder(spot):  # what is wrong about it is said as the other tools do
            cwd = Path(spot.shown)
        asked_s = float(arguments.get("timeout", DEFAULT_S))
        within_s = min(asked_s, errand.left_s)
        if within_s <= 0:
            raise ToolError("there is no time left for a command. Call again")
        try:
            outcome = await sandbox.run(
                standing,
                list(errand.roots.paths),
                command,
                cwd=cwd,
                within_s=within_s,
                told=swept,
            )
        except SandboxError as error:
            raise ToolError(f"the command was not run: {error}") from None
        return told(outcome)

    held = UNCONFINED if standing.layer is Layer.NONE else CONFINED
    return Tool(
        name="bash",
        title="Run a command",
        description=(
            "Runs a command with bash. All that it starts ends with it: nothing stays in the "
            f"background. {held} Of long output the beginning and the end are kept."
        ),
        arguments={
            "command": string("The command line or script.", minLength=1, maxLength=MAX_COMMAND),
            "timeout": {
                "type": "number",
                "description": "Seconds after which it is ended, if the call's own end is later.",
                "exclusiveMinimum": 0,
                "maximum": MAX_S,
                "default": DEFAULT_S,
            },
            "cwd": PATH | {"default": "."},
        },
        required=("command",),
        fields=FIELDS,
        always=("stdout", "stderr", "returncode", "ended"),
        hints={
            "readOnlyHint": False,
            "destructiveHint": True,
            "idempotentHint": False,
            "openWorldHint": standing.layer is Layer.NONE,
        },
        wait=wait,
    )


def told(outcome: Outcome) -> Answer:
    blocks = [text(outcome.stdout)] if outcome.stdout else []
    if outcome.stderr:
        blocks.append(text(f"[standard error]\n{outcome.stderr}"))
    blocks.append(text(f"[{'; '.join(_notes(outcome))}]"))
    fields: dict[str, Any] = {
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        # As a shell would say it where something else ended it.
        "returncode": 137 if outcome.returncode is None else outcome.returncode,
        "ended": outcome.ended.value,
        "duration_s": round(outcome.duration_s, 3),
        "quarantined": list(outcome.quarantined) or None,
        "places": list(outcome.places) or None,
        "planted": list(outcome.planted) or None,
        "left_out_bytes": outcome.left_out_bytes or None,
    }
    done = answer(blocks, fields)
    done["isError"] = outcome.returncode != 0 or outcome.ended is not Ended.EXIT
    done["_meta"] = {"opscenter/exit": fields["returncode"]}
    return done


def _notes(outcome: Outcome) -> list[str]:
    notes = []
    if outcome.ended is not Ended.EXIT:
        notes.append(WHY[outcome.ended].format(seconds=outcome.duration_s))
    elif outcome.returncode != 0:
        notes.append(f"exit code {outcome.returncode}")
    else:
        notes.append("done" if outcome.stdout or outcome.stderr else "done, without output")
    if outcome.left_out_bytes:
        notes.append(f"{outcome.left_out_bytes:,} bytes of output were left out in the middle")
    if outcome.quarantined:
        moved = ", ".join(map(_moved, outcome.quarantined, outcome.places))
        notes.append(
            f"moved away or put back, because programs of the person's obey such files: {moved}. "
            "Ask the person if one is needed"
        )
    if outcome.planted:
        left = ", ".join(outcome.planted)
        notes.append(
            f"still there, though programs of the person's obey such files, because they could "
            f"not be moved: {left}. Tell the person, who should look at them before anything else"
        )
    return notes


def _moved(path: str, place: str) -> str:
    return f"{path} (as it was)" if path == place else f"{path} (now {place})"


FIELDS = {
    "stdout": string("What it wrote to standard output."),
    "stderr": string("What it wrote to standard error."),
    "returncode": whole("Its exit code; 128 and more where a signal ended it."),
    "ended": string(
        "How it ended: by itself (exit), or because of a bound.",
        enum=[ended.value for ended in Ended],
    ),
    "duration_s": {"type": "number", "description": "How long it took."},
    "quarantined": listed("New files that were moved out of the folder.", {"type": "string"}),
    "places": listed("Where they are now: under their own path if put back.", {"type": "string"}),
    "planted": listed("New files that should have been, and could not be.", {"type": "string"}),
    "left_out_bytes": whole("Of the output, in the middle."),
}
