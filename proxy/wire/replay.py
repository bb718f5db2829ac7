"""A whole message as the stream that a client asked for and its upstream did not give."""

from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.wire.signature import Signer
from proxy.wire.stream import Emitter

_TOLD = frozenset({"id", "type", "role", "model", "content", "usage"})
_ENDING = frozenset({"stop_reason", "stop_sequence"})


def told(message: Mapping[str, Any], signer: Signer) -> bytes:
    """The events of `message`, which must be a right one."""
    emitter = Emitter(
        message_id=message["id"], model=message["model"], usage=message["usage"], signer=signer
    )
    events = [emitter.start(), *(_block(emitter, block) for block in message["content"])]
    rest = {name: message[name] for name in message.keys() - _TOLD - _ENDING}
    ending = emitter.finish(
        message["stop_reason"], message["usage"], message.get("stop_sequence"), extra_delta=rest
    )
    return b"".join([*events, ending])


def _block(emitter: Emitter, block: Mapping[str, Any]) -> bytes:
    match block["type"]:
        case "text":
            return emitter.text(block["text"])
        case "thinking":
            thinking = emitter.thinking(block["thinking"])
            return thinking + emitter.signature(block.get("signature") or None)
        case "tool_use" | "server_tool_use" as kind:
            called = emitter.tool_use(block["id"], block["name"], kind)
            return called + emitter.tool_input(msgspec.json.encode(block["input"]).decode())
        case _:
            return emitter.whole_block(block)
