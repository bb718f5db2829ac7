"""What the human said in a conversation, without what programs and pastes put beside it (pure).

Tool results, reminders of the client, code, logs and quotations speak of bugs, reviews and designs
all the time, and none of it is what somebody asks for.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_RAW = 64 * 1024  # of one turn, with all that is taken out: its first and last half
MOST_CHARS = 2000  # of one turn's words, the same; whoever writes more has pasted
MOST_TURNS = 6  # looked at, newest first; a longer memory says nothing of what is asked now

# What Claude Code and editors wrap what they add in; a tag that nobody closed reaches to the end.
_TAGGED = re.compile(
    r"<((?:system|ide|local|bash|user|task|session|post|pre|new|tool|teammate|background)"
    r"[a-z]*[-_][a-z_-]{2,40})\b[^>]{0,200}>.*?(?:</\1>|\Z)",
    re.DOTALL,
)
_COMMAND = re.compile(r"<command-(message|name|args|contents)>(.*?)(?:</command-\1>|\Z)", re.DOTALL)
_FENCED = re.compile(r"(?:```|~~~).*?(?:```|~~~|\Z)", re.DOTALL)
_INLINE = re.compile(r"`[^`\n]{1,300}`")
_QUOTED = re.compile(
    r"(?<!\w)(?:\"[^\"\n]{2,300}\"|'[^'\n]{2,300}'|“[^”\n]{2,300}”|„[^“”\n]{2,300}[“”]"
    r"|«[^»\n]{2,300}»)(?!\w)"
)
_NOISE = re.compile(r"\[(?:Request interrupted|Image|Pasted text)[^\]\n]{0,100}\]|https?://\S+")
_RESUMED = "This session is being continued from a previous conversation"

_PASTED = re.compile(
    r"""^\s*(?:
        \d{4}-\d\d-\d\d[T\s]\d\d:\d\d | \[?\d\d:\d\d:\d\d      # a line of a log
      | at\s\S+.*[(:]\d+ | File\s"[^"]+",\sline\s\d | Traceback\s\( | \#\d+\s+0x
      | Caused\sby: | goroutine\s\d | \.{3}\s\d+\smore
      | (?:[\w.]+\.)?\w*(?:Error|Exception|Warning|Fault|Panic)(?:\[\w+\])?:\s
      | (?:error|fatal|panic|warning)(?:\[\w+\])?:\s | npm\sERR! | E\s{2,} | FAILED\s\S | ERROR[:\s]
      | (?:diff\s--git|index\s[0-9a-f]{7}|@@\s|\+\+\+\s|---\s|[+-]\s{2,}) | > | \$\s | \|
    )""",
    re.VERBOSE,
)
_SYMBOLS = re.compile(r"[{}()\[\];=<>\\|&$#@*/_]")
_FAILURE = re.compile(
    r"Traceback \(|\w(?:Error|Exception)\b|\b(?:ERROR|FATAL|FAILED|panic|segfault)\b"
    r"|^\s*(?:error|fatal)(?:\[\w+\])?:|ERR!|exit code [1-9]",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One turn of the human."""

    words: str
    has_failure: bool = False  # an error was pasted beside the words


def turns(messages: Sequence[Any]) -> Iterator[Spoken]:
    """The human's turns that say anything, newest first."""
    count = 0
    for message in reversed(messages):
        if count == MOST_TURNS:
            return
        if not isinstance(message, Mapping) or message.get("role") != "user":
            continue
        turn = heard("\n".join(_texts(message.get("content"))))
        if turn.words or turn.has_failure:
            count += 1
            yield turn


def heard(text: str) -> Spoken:
    """The words in one text, and whether an error stands beside them."""
    text = _COMMAND.sub(_command, _TAGGED.sub("\n", _ends(text, MOST_RAW)))
    has_failure = False
    kept = []
    for part in _unfenced(text):
        if part.is_code:
            has_failure = has_failure or bool(_FAILURE.search(part.text))
            continue
        for line in part.text.splitlines():
            if _is_pasted(line):
                has_failure = has_failure or bool(_FAILURE.search(line))
            else:
                kept.append(line.strip())
    words = "\n".join(line for line in kept if line)
    words = _QUOTED.sub(" ", _INLINE.sub(" ", _NOISE.sub(" ", words)))
    return Spoken(words=_ends(words, MOST_CHARS).strip(), has_failure=has_failure)


def _ends(text: str, most: int) -> str:
    """The first and the last half of what is longer than that."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}\n{text[-half:]}"


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    is_code: bool


def _unfenced(text: str) -> Iterator[_Part]:
    at = 0
    for fence in _FENCED.finditer(text):
        yield _Part(text[at : fence.start()], is_code=False)
        yield _Part(fence[0], is_code=True)
        at = fence.end()
    yield _Part(text[at:], is_code=False)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for block in content if isinstance(content, Sequence) else ():
        if isinstance(block, Mapping) and block.get("type") == "text":
            text = block.get("text")
            # A summary that the client wrote in the human's name when the talk grew too long.
            if isinstance(text, str) and not text.lstrip().startswith(_RESUMED):
                yield text


def _command(found: re.Match[str]) -> str:
    """A slash command's name is a word of the human's; the rest of it is the client's."""
    if found[1] in {"message", "contents"}:
        return "\n"
    return found[2].strip().lstrip("/").replace("-", " ") + " "


def _is_pasted(line: str) -> bool:
    """Whether a line comes from a log, a stack, a diff or a program rather than from a person."""
    if _PASTED.match(line):
        return True
    line = line.strip()
    blanks = line.count(" ")
    if len(line) > 120 and blanks < len(line) / 40 and line.isascii():
        return True  # no prose has words that long
    return len(line) > 8 and len(_SYMBOLS.findall(line)) > max(4, len(line) / 6)
