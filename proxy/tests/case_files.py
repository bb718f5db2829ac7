"""Cases in JSON files: a request, what an upstream said to it, and what the client must see."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

CASES = Path(__file__).parent / "cases"
REQUEST = {
    "model": "claude-test",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hi"}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case. What a file does not name is None."""

    name: str  # of the file
    why: str  # the sentence that the case proves
    kind: str  # of the upstream
    request: dict[str, Any]  # what is other than in REQUEST
    profile: dict[str, Any] | None = None
    sent: Any = None  # the exact body that the upstream gets
    status: int = 200
    answer: Any = None  # list: a stream; object: a JSON body; text: a body that is no JSON
    message: dict[str, Any] | None = None
    error: dict[str, Any] | None = None  # instead of an answer
    broken: dict[str, Any] | None = None  # the error event after an answer has begun
    unchanged: bool = False  # the answer goes out as the bytes that came in

    @classmethod
    def read(cls, path: Path) -> Self:
        """The case in a file. A member that no case has is a mistake and raises TypeError."""
        return cls(name=path.stem, **json.loads(path.read_text()))

    @property
    def body(self) -> dict[str, Any]:
        """The whole request."""
        return REQUEST | self.request

    @property
    def content_type(self) -> str:
        """The type of the upstream's answer."""
        if isinstance(self.answer, list):
            return "text/event-stream"
        return "text/plain" if isinstance(self.answer, str) else "application/json"

    @property
    def raw_answer(self) -> bytes:
        """The upstream's answer as bytes."""
        if isinstance(self.answer, list):
            named = self.kind == "compatible"
            return b"".join(_event(item, named=named) for item in self.answer)
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return text.encode()


def cases(folder: str) -> list[Case]:
    """The cases in a folder below CASES, by name. Raises LookupError where there are none."""
    found = [Case.read(path) for path in sorted((CASES / folder).rglob("*.json"))]
    if not found:
        raise LookupError(f"no cases in {folder}")
    return found


def differences(expected: object, actual: object, at: str = "") -> Iterator[str]:
    """What `actual` lacks of `expected`: objects may hold more, lists are compared whole."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for name, value in expected.items():
            if name in actual:
                yield from differences(value, actual[name], f"{at}.{name}")
            else:
                yield f"{at}.{name} is missing"
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{at} has {len(actual)} items, not {len(expected)}: {actual}"
        for number, (one, other) in enumerate(zip(expected, actual, strict=False)):
            yield from differences(one, other, f"{at}.{number}")
    elif expected != actual or type(expected) is not type(actual):
        yield f"{at} is {actual!r}, not {expected!r}"


def _event(item: Any, *, named: bool) -> bytes:
    if isinstance(item, str):
        return item.encode()
    head = b"event: %b\n" % item["type"].encode() if named else b""
    return head + b"data: %b\n\n" % json.dumps(item).encode()
