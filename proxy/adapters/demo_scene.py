"""What the demo upstream reads in a request, however oddly it is shaped (pure)."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

ECHO_CHARS = 200  # enough to see that the right text arrived
QUOTE_CHARS = 120
MOST_QUOTES = 10
TOKEN_CHARS = 4  # of English text and code, roughly

# Tools that change nothing, with inputs that they accept; the client may not offer any of them.
HARMLESS: dict[str, list[dict[str, Any]]] = {
    "Bash": [
        {"command": "echo 'Hello from the demo upstream'", "description": "Say hello"},
        {"command": "echo 'Hello again'", "description": "Say hello again"},
    ],
    "Glob": [{"pattern": "*.md"}, {"pattern": "*.txt"}],
    "Grep": [{"pattern": "demo"}, {"pattern": "upstream"}],
    "bash": [{"command": "echo 'Hello from the demo upstream'"}, {"command": "echo again"}],
    "Read": [{"file_path": "README.md"}, {"file_path": "LICENSE"}],
}

# What the client adds to a human's message; an unclosed one reaches to the end.
_REMINDER = re.compile(r"<system-reminder>.*?(?:</system-reminder>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call, its input as JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came back from a tool."""

    tool: str
    text: str
    failed: bool

    def __str__(self) -> str:
        return f"- {self.tool}{' failed' if self.failed else ''}: {self.text or '(no text)'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where the conversation stands."""

    asked: str  # the human's last text
    results: tuple[Result, ...]  # what the tools have said since
    tools: frozenset[str]  # the names of the tools that may be called now
    keeps_thinking_back: bool

    @property
    def echo(self) -> str:
        """The beginning of what was asked."""
        return _short(self.asked, ECHO_CHARS)

    @property
    def summary(self) -> str:
        """What came back from the tools, in short quotes."""
        count = len(self.results)
        lines = [f"{count} tool {'result' if count == 1 else 'results'} came back:"]
        lines += map(str, self.results[:MOST_QUOTES])
        return "\n".join(
            [*lines, f"- and {count - MOST_QUOTES} more"] if count > MOST_QUOTES else lines
        )

    def harmless(self, most: int) -> list[Call]:
        """Up to `most` different calls of offered tools; different tools come first."""
        names = [name for name in HARMLESS if name in self.tools]
        calls = [
            Call(name, msgspec.json.encode(HARMLESS[name][again]).decode())
            for again in range(2)
            for name in names
        ]
        return calls[:most]


def read(body: dict[str, Any], *, word: re.Pattern[str], help: str) -> Scene:  # noqa: A002  (it is one)
    """The scene of a request. Text beside tool results is a new question if a `word` is in it.

    The `help` that the demo gives names every word and means none: who quotes it asks for nothing.
    """
    asked, results, names = "", list[Result](), dict[str, str]()
    for message in _objects(body.get("messages")):
        blocks = _blocks(message.get("content"))
        if message.get("role") != "user":
            names |= {_text(b.get("id")): _text(b.get("name")) for b in blocks}
            continue
        new = [_result(b, names) for b in blocks if b.get("type") == "tool_result"]
        text = "\n".join(filter(None, map(_human_text, blocks))).replace(help, "")
        if text and (not new or word.search(text)):
            asked, results = text, []
        else:
            results += new
    return Scene(
        asked=asked,
        results=tuple(results),
        tools=frozenset(_offered(body)),
        keeps_thinking_back=_object(body.get("thinking")).get("display") == "omitted",
    )


def safeguard_types(body: dict[str, Any]) -> list[str]:
    """The checks of tool calls that the client asks for, each once."""
    types = [_text(safeguard.get("type")) for safeguard in _objects(body.get("safeguards"))]
    return [kind for kind in dict.fromkeys(types) if kind]


def count_tokens(body: dict[str, Any]) -> int:
    """A rough count of the request's tokens, the same for the same request; at least 1."""
    parts = [body.get("system"), body.get("messages"), body.get("tools")]
    return max(1, sum(map(len, _strings(parts))) // TOKEN_CHARS)


def object_at(text: str, start: int) -> str | None:
    """The JSON object that begins there, as it is written. Nothing on the line is an empty one."""
    if start >= len(text) or text[start] in "\r\n":
        return "{}"
    try:
        value, end = json.JSONDecoder(parse_constant=_refuse).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return text[start:end] if isinstance(value, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _offered(body: dict[str, Any]) -> Iterator[str]:
    if _object(body.get("tool_choice")).get("type") == "none":
        return
    for tool in _objects(body.get("tools")):
        # A deferred tool is hidden until it has been searched for.
        if not tool.get("defer_loading"):
            yield _text(tool.get("name"))


def _result(block: dict[str, Any], names: dict[str, str]) -> Result:
    parts = map(_block_text, _blocks(block.get("content")))
    return Result(
        tool=names.get(_text(block.get("tool_use_id"))) or "a tool",
        text=_short(" ".join(filter(None, parts)), QUOTE_CHARS),
        failed=block.get("is_error") is True,
    )


def _block_text(block: dict[str, Any]) -> str:
    kind = _text(block.get("type"))
    return _text(block.get("text")) if kind == "text" else f"[{kind or 'something'}]"


def _human_text(block: dict[str, Any]) -> str:
    text = _text(block.get("text")) if block.get("type") == "text" else ""
    return _REMINDER.sub("", text).strip()


def _short(text: str, most: int) -> str:
    # Twice as much first: what is only blank is then folded without reading a whole book.
    return " ".join(text[: 2 * most].split())[:most]


def _blocks(content: object) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else _objects(content)


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _strings(parts: Iterable[object]) -> Iterator[str]:
    """Every string in there, keys too; but no base64, which is not read as text."""
    waiting = list(parts)  # not recursion: a request may be nested deeper than Python's stack
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            yield from part
            encoded = part.get("type") == "base64"
            waiting += [v for k, v in part.items() if not (encoded and k == "data")]
