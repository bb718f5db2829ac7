"""The tools `leave` and `look` of effects_server.py without the SDK, whose import takes a second.

`python light_effects.py FILE`: every effect is a line appended to FILE.
"""

import json
import os
import sys
import threading
from typing import Any

PROTOCOL = "2025-06-18"
NO_METHOD = -32601
FIELDS = {
    "type": "object",
    "properties": {"word": {"type": "string"}, "ms": {"type": "number"}},
    "required": ["word"],
}
TOOLS = [
    {"name": "leave", "inputSchema": FIELDS},
    {"name": "look", "inputSchema": FIELDS, "annotations": {"readOnlyHint": True}},
]
GREETING = {
    "protocolVersion": PROTOCOL,
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "effects", "version": "1.0"},
}
_file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_telling = threading.Lock()


def _tell(asked: dict[str, Any], **more: Any) -> None:
    with _telling:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **more}) + "\n")
        sys.stdout.flush()


def _run(asked: dict[str, Any]) -> None:
    given = asked["params"]["arguments"]
    if asked["params"]["name"] == "leave":
        os.write(_file, f"left {given['word']}\n".encode())  # one write: lines do not mix
    threading.Event().wait(given.get("ms", 0) / 1000)
    _tell(asked, result={"content": [{"type": "text", "text": given["word"]}]})


def _answer(asked: dict[str, Any]) -> None:
    method = asked["method"]
    if method == "tools/call":
        threading.Thread(target=_run, args=[asked], daemon=True).start()
    elif method in {"initialize", "tools/list", "ping"}:
        told = {"initialize": GREETING, "tools/list": {"tools": TOOLS}, "ping": {}}
        _tell(asked, result=told[method])
    elif "id" in asked:
        _tell(asked, error={"code": NO_METHOD, "message": "There is no such method."})


if __name__ == "__main__":
    for line in sys.stdin:
        _answer(json.loads(line))
