"""What a command says: its beginning and its end, as text that can do no harm (pure)."""

import re

# Colours, cursor movements, window titles, clipboards: for terminals, which a model is none.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_RETURN = re.compile(r"\r+\n?")
# C0 without tab and newline, DEL, and C1.
_CONTROL = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160)])


class Kept:
    """The first and the last of what was written, and how much that was."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def take(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self._half - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room < len(chunk) else b""
        if len(self._tail) > 2 * self._half:  # not at each chunk: moving bytes costs
            del self._tail[: -self._half]

    @property
    def left_out(self) -> int:
        return max(0, self.total - 2 * self._half)

    def text(self) -> str:
        """Both ends. Bytes that are no UTF-8 are shown as U+FFFD."""
        if not self.left_out:
            return clean((self._head + self._tail).decode("utf-8", "replace"))
        head = clean(bytes(self._head).decode("utf-8", "replace"))
        tail = clean(bytes(self._tail[-self._half :]).decode("utf-8", "replace"))
        return f"{head}\n[… {self.left_out} bytes left out …]\n{tail}"


def clean(text: str) -> str:
    """Without what would steer a terminal; lines end in a newline only."""
    return _RETURN.sub("\n", _SEQUENCE.sub("", text)).translate(_CONTROL)
