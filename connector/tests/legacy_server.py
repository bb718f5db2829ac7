"""A server of the older revisions, written by hand: handshake, pages, notifications, cancellation.

What it hears and does stands in the file $ECHO_NOTES.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}}
tools = ["one", "two", "three"]
waiting: dict[str, Any] = {}


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(message: dict[str, Any]) -> Any:
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "legacy", "version": "0.9"},
        }
    if method == "tools/list":
        at = int(params.get("cursor", 0))
        page = {"tools": [{"name": tools[at], "inputSchema": SCHEMA}]}
        return page | ({"nextCursor": str(at + 1)} if at + 1 < len(tools) else {})
    if method == "tools/call" and params["name"] == "two":
        tools.append("four")
        send(method="notifications/tools/list_changed")
    if method == "tools/call":
        return {"content": [{"type": "text", "text": params["name"]}], "future": {"kept": True}}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if message.get("params", {}).get("name") == "three":
        message["method"] = "wait"  # never answered
    with Path(os.environ["ECHO_NOTES"]).open("a") as notes:
        notes.write(f"{message['method']}\n")
    if message["method"] in ("wait", "notifications/cancelled") or "id" not in message:
        continue
    if message.get("params", {}).get("name") == "sing":
        send(id=message["id"], error={"code": -32602, "message": "no such tool"})
    elif (result := answer(message)) is None:
        send(id=message["id"], error={"code": -32601, "message": "no such method"})
    else:
        send(id=message["id"], result=result)
