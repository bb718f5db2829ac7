"""A conversation read turn by turn: checked, without what is not sent, alternating."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.adapters.openai.content import Block, blocks_of
from proxy.adapters.openai.fields import a_list, an_object, required, string_of
from proxy.adapters.openai.translation import Profile
from proxy.wire.body import BodyError

MAX_MESSAGES = 100_000  # the API's own bound

Placed = tuple[str, Block]  # a block and its dotted path, which errors name


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one side says before another does."""

    role: str
    blocks: list[Placed]

    def told(self) -> Mapping[str, Any]:
        """The turn as a message of the Messages API."""
        return {"role": self.role, "content": [block for _, block in self.blocks]}


def turns_of(body: Mapping[str, Any], profile: Profile) -> list[Turn]:
    """The turns that are sent, neighbours of the same role as one. Raises BodyError."""
    turns = _read(body)
    since = _last_word_of_user(turns)
    back = "reasoning history" not in profile.conceded
    kept = []
    for number, turn in enumerate(turns):
        returned = profile.signer.signed if back and number > since else _nothing_returned
        kept.append(_without_unsent(turn, returned))
    if "late system" in profile.conceded:
        kept = _with_reminders(kept)
    merged = _merged([turn for turn in kept if _says_something(turn)])
    if not merged:
        raise BodyError("messages: at least one message is required")
    return merged


def _nothing_returned(_thinking: str, _signature: str) -> bool:
    return False


def _read(body: Mapping[str, Any]) -> list[Turn]:
    messages = a_list(body.get("messages"), "messages")
    if len(messages) > MAX_MESSAGES:
        raise BodyError(f"messages: List should have at most {MAX_MESSAGES} items")
    turns = []
    for number, message in enumerate(messages):
        at = f"messages.{number}"
        role = string_of(an_object(message, at), "role", at)
        if role not in {"user", "assistant", "system"}:
            raise BodyError(f"{at}.role: Input should be 'user', 'assistant' or 'system'")
        content = required(message, "content", at)
        turns.append(Turn(role=role, blocks=blocks_of(content, f"{at}.content")))
    return turns


def _last_word_of_user(turns: list[Turn]) -> int:
    """The last turn in which a person speaks, and not only tools. Older thinking is over."""
    for number in range(len(turns) - 1, -1, -1):
        turn = turns[number]
        if turn.role == "user" and any(it["type"] != "tool_result" for _, it in turn.blocks):
            return number
    return -1


def _without_unsent(turn: Turn, returned: Callable[[str, str], bool]) -> Turn:
    """The turn without empty text, and of its thinking only what is `returned`."""
    return Turn(
        role=turn.role,
        blocks=[(at, block) for at, block in turn.blocks if _is_sent(at, block, returned)],
    )


def _is_sent(at: str, block: Block, returned: Callable[[str, str], bool]) -> bool:
    match block["type"]:
        case "text":
            return bool(string_of(block, "text", at))
        case "thinking":
            thinking = string_of(block, "thinking", at)
            signature = block.get("signature")
            return isinstance(signature, str) and returned(thinking, signature)
        case "compaction":
            return block.get("content") is not None  # without one it has failed
    return bool(block["type"] != "redacted_thinking")


def _says_something(turn: Turn) -> bool:
    return any(block["type"] != "thinking" for _, block in turn.blocks)


def _with_reminders(turns: list[Turn]) -> list[Turn]:
    """The turns with every system turn but the first ones told by the user instead."""
    told: list[Turn] = []
    begun = False
    for turn in turns:
        begun = begun or turn.role != "system"
        if begun and turn.role == "system":
            told.append(Turn(role="user", blocks=[_reminder(*placed) for placed in turn.blocks]))
        else:
            told.append(turn)
    return told


def _reminder(at: str, block: Block) -> Placed:
    if block["type"] != "text":
        return at, block
    text = f"<system-reminder>\n{block['text']}\n</system-reminder>"
    return at, {"type": "text", "text": text}


def _merged(turns: list[Turn]) -> list[Turn]:
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1].blocks.extend(turn.blocks)
        else:
            merged.append(turn)
    return merged
