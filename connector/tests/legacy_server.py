"""A server of the older revisions, written by hand: handshake, pages, notifications, cancellation.

It starts in no time. What it hears and really does stands in the file $ECHO_NOTES.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

WORDS = {"type": "object", "properties": {"word": {"type": "string"}}}
PROGRESS = "notifications/progress"
ODD_NUMBERS = ("9" * 400, "-" + "9" * 400, "NaN", "Infinity", "1e999", "true", '"1"', "null")
READ_ONLY = {"readOnlyHint": True}
tools = ["say", "count", "wait", "large", "crash", "learn", "reword"]
described: list[str] = []
waiting: dict[Any, threading.Event] = {}
one_at_a_time = threading.Lock()


def note(line: str) -> None:
    with one_at_a_time, Path(os.environ["ECHO_NOTES"]).open("a") as notes:
        notes.write(line + "\n")


def send(**message: Any) -> None:
    write(json.dumps({"jsonrpc": "2.0", **message}))


def write(line: str) -> None:
    with one_at_a_time:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def listed(params: dict[str, Any]) -> dict[str, Any]:
    """A page of two."""
    at = int(params.get("cursor", 0))
    page = [
        {"name": name, "inputSchema": WORDS}
        | ({"annotations": READ_ONLY} if name in ("say", "large") else {})
        | ({"description": described[-1]} if name == "count" and described else {})
        for name in tools[at : at + 2]
    ]
    return {"tools": page} | ({"nextCursor": str(at + 2)} if at + 2 < len(tools) else {})


def wait(id_: Any, arguments: dict[str, Any], token: Any) -> None:
    """Answer after a while, unless it is cancelled; say in between how far it is."""
    stop = waiting[id_] = threading.Event()
    word = arguments["word"]
    note(f"began {word}")
    for step in range(1, 11):
        if stop.wait(arguments["seconds"] / 10):
            note(f"cancelled {word}")
            return
        if token is not None:
            progress = {"progressToken": token, "progress": step, "total": 10}
            send(method=PROGRESS, params=progress)
    note(f"ended {word}")
    send(id=id_, result=text(word))


def babble(token: str) -> None:
    """Progress that no standard library writes."""
    for number in ODD_NUMBERS:
        progress = f'{{"progressToken": {token}, "progress": {number}, "total": {number}}}'
        write(f'{{"jsonrpc": "2.0", "method": "{PROGRESS}", "params": {progress}}}')


def text(said: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}], "future": {"kept": True}}


def called(id_: Any, params: dict[str, Any]) -> None:
    name, arguments = params["name"], params.get("arguments", {})
    word = arguments.get("word", "")
    if name == "say":
        send(id=id_, result=text(word))
    elif name == "count":
        note(f"count {word}")
        send(id=id_, result=text(word))
    elif name == "wait":
        token = params.get("_meta", {}).get("progressToken")
        threading.Thread(target=wait, args=(id_, arguments, token), daemon=True).start()
    elif name == "large":
        send(id=id_, result=text("x" * arguments["size"]))
    elif name == "babble":
        babble(json.dumps(params["_meta"]["progressToken"]))
        send(id=id_, result=text(word))
    elif name == "crash":
        note(f"crash {word}")
        os._exit(7)
    elif name in ("learn", "reword"):
        (tools if name == "learn" else described).append(word)
        send(method="notifications/tools/list_changed")
        send(id=id_, result=text(word))
    else:
        send(id=id_, error={"code": -32602, "message": "no such tool"})


for line in sys.stdin:
    message = json.loads(line)
    method, params, id_ = message["method"], message.get("params", {}), message.get("id")
    if method == "initialize":
        known = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "legacy", "version": "0.9"},
        }
        send(id=id_, result=known)
    elif method == "tools/list":
        send(id=id_, result=listed(params))
    elif method == "tools/call":
        called(id_, params)
    elif method == "notifications/cancelled" and params["requestId"] in waiting:
        waiting[params["requestId"]].set()
    elif id_ is not None:
        send(id=id_, error={"code": -32601, "message": "no such method"})
