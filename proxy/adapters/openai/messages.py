"""Turns of the Messages API as messages of Chat Completions."""

from collections.abc import Collection
from typing import Any

from proxy.adapters.openai.content import Block, Part, blocks_of, flat, joined, parts_of
from proxy.adapters.openai.fields import an_object, as_json, name_of, required, string_of
from proxy.adapters.openai.names import call_id, tool_name
from proxy.adapters.openai.turns import Placed, Turn
from proxy.wire.body import BodyError

Message = dict[str, Any]

_NOT_SAID = frozenset({"thinking", "tool_use"})

NO_OUTPUT = "(no output)"
NO_RESULT = "(no result: this call was never answered)"
ELSEWHERE = "(see the next message)"

# Claude Code names itself and its version in the first block; it is for billing, not for a model.
_ATTRIBUTION = "x-anthropic-billing-header:"


def system_texts(system: Any) -> list[str]:
    """The texts of the top-level `system`. Raises BodyError."""
    if system is None:
        return []
    texts = []
    for at, block in blocks_of(system, "system"):
        if block["type"] != "text":
            raise BodyError(f"{at}.type: Input should be 'text'")
        text = string_of(block, "text", at)
        if text and not text.startswith(_ATTRIBUTION):
            texts.append(text)
    return texts


def messages_of(turns: list[Turn], conceded: Collection[str]) -> list[Message]:
    """The conversation, results right behind the calls they belong to. Raises BodyError."""
    talk = _Talk(conceded)
    for number, turn in enumerate(turns):
        match turn.role:
            case "assistant":
                talk.assistant(turn, _results_after(turns, number))
            case "system":
                text = "\n\n".join(_system_text(at, block) for at, block in turn.blocks)
                talk.messages.append({"role": "system", "content": text})
            case _:
                talk.user(turn)
    return talk.messages


def _results_after(turns: list[Turn], number: int) -> dict[str, Placed]:
    """What the tools said before the assistant spoke again, by the id of the call."""
    results: dict[str, Placed] = {}
    for later in range(number + 1, len(turns)):
        turn = turns[later]
        if turn.role == "assistant":
            break
        for at, block in turn.blocks if turn.role == "user" else ():
            if block["type"] == "tool_result":
                given = string_of(block, "tool_use_id", at)
                results.setdefault(given, (at, block))
    return results


def _system_text(at: str, block: Block) -> str:
    match block["type"]:
        case "text":
            return string_of(block, "text", at)
        case "tool_addition" | "tool_removal" as kind:
            tool = an_object(required(block, "tool", at), f"{at}.tool")
            named = tool.get("definition") if tool.get("type") == "tool_definition" else tool
            name = tool_name(name_of(an_object(named, f"{at}.tool"), "name", f"{at}.tool"))
            state = "now" if kind == "tool_addition" else "no longer"
            return f"The tool {name} is {state} available."
    return flat(block)


def _parts(at: str, block: Block, conceded: Collection[str]) -> list[Part]:
    """The parts of what the user says, or the system in the user's place."""
    if block["type"] in {"tool_addition", "tool_removal"}:
        return [_system_text(at, block)]
    return parts_of(block, at, conceded)


def _said(block: Block) -> str:
    return str(block["text"]) if block["type"] == "text" else flat(block)


def _calls(turn: Turn) -> dict[str, Placed]:
    """The calls of an assistant turn by their ids."""
    calls: dict[str, Placed] = {}
    for at, block in turn.blocks:
        if block["type"] == "tool_use":
            given = name_of(block, "id", at)
            if given in calls:
                raise BodyError(f"{at}.id: `tool_use` ids must be unique")
            calls[given] = at, block
    return calls


class _Talk:
    """The messages so far, and which results have found their call."""

    def __init__(self, conceded: Collection[str]) -> None:
        self.messages: list[Message] = []
        self._conceded = conceded
        self._attached: dict[str, list[Part]] = {}  # by the place of the result

    def assistant(self, turn: Turn, results: dict[str, Placed]) -> None:
        """What the assistant said, and the results of its calls."""
        calls = _calls(turn)
        texts = [_said(block) for _, block in turn.blocks if block["type"] not in _NOT_SAID]
        thoughts = [it["thinking"] for _, it in turn.blocks if it["type"] == "thinking"]
        message: Message = {"role": "assistant", "content": joined(texts) if texts else None}
        if thoughts:
            message["reasoning_content"] = "\n\n".join(thoughts)
        if calls:
            message["tool_calls"] = [self._call(given, *call) for given, call in calls.items()]
        self.messages.append(message)
        for given, (_, block) in calls.items():
            self._answer(given, block["name"], results.get(given))

    def user(self, turn: Turn) -> None:
        """What the user said beside the results that stand behind their calls already."""
        parts: list[Part] = []
        for at, block in turn.blocks:
            if block["type"] != "tool_result":
                parts += _parts(at, block, self._conceded)
            elif at in self._attached:
                parts += self._attached[at]
            else:
                text, others = self._result(at, block)
                parts += [f"[Result of a tool call that is not in this conversation]\n{text}"]
                parts += others
        if parts:
            self.messages.append({"role": "user", "content": joined(parts)})

    def _id(self, given: str) -> str:
        return call_id(given, short="long tool ids" in self._conceded)

    def _call(self, given: str, at: str, block: Block) -> Message:
        arguments = an_object(required(block, "input", at), f"{at}.input")
        return {
            "id": self._id(given),
            "type": "function",
            "function": {
                "name": tool_name(name_of(block, "name", at)),
                "arguments": as_json(arguments),
            },
        }

    def _answer(self, given: str, name: str, result: Placed | None) -> None:
        text = NO_RESULT
        if result is not None:
            at, block = result
            text, others = self._result(at, block)
            label = f"[From the result of {tool_name(name)}, call {self._id(given)}]"
            self._attached[at] = [label, *others] if others else []
        self.messages.append({"role": "tool", "tool_call_id": self._id(given), "content": text})

    def _result(self, at: str, block: Block) -> tuple[str, list[Part]]:
        """The text of a result, and its parts that are none."""
        content = block.get("content")
        parts: list[Part] = []
        for place, inner in blocks_of("" if content is None else content, f"{at}.content"):
            parts += parts_of(inner, place, self._conceded)
        text = "\n\n".join(part for part in parts if isinstance(part, str) and part)
        others: list[Part] = [part for part in parts if not isinstance(part, str)]
        text = text or (ELSEWHERE if others else NO_OUTPUT)
        return (f"Error: {text}" if block.get("is_error") is True else text), others
