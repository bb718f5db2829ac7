"""`python -m tests.sandbox.starts COUNT`: what it costs to start a command, as JSON."""

import json
import os
import sys
from contextlib import suppress

from tests.sandbox.arena import arena
from tests.sandbox.conftest import FIRST_UID, LAYERS
from tests.sandbox.person import ordinary


def main(count: int) -> None:
    with suppress(OSError):  # ahead of whatever else this machine does; root may ask for that
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    uid = FIRST_UID + os.getpid() % 3000
    found: dict[str, list[float] | str] = {}
    with ordinary(uid) as person, arena(person.uid) as here:
        for layer in (*LAYERS, "none"):
            answer = person.ask(op="survey", roots=[], forced=layer)
            if "refused" in answer:
                found[layer] = answer["refused"]
                continue
            question = {"op": "time", "layer": layer, "root": here.workspace, "command": "true"}
            person.ask(**question, count=5)  # what is looked up once is no cost of a command
            found[layer] = person.ask(**question, count=count)["took_ms"]
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
