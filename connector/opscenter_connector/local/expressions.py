"""Regular expressions and globs, by RE2: whatever the pattern, it is done in one pass."""

import re2

from opscenter_connector.local.mistakes import ToolError

MAX_PATTERN = 1000  # characters; people write tens
MAX_MEMORY = 8 * 1024 * 1024  # of one expression: a larger program would take seconds a page
MAX_BRACES = 8  # one in the other


def expression(pattern: str, *, literal: bool = False, ignore_case: bool = False) -> re2._Regexp:
    """For lines, as bytes. Raises ToolError."""
    options = re2.Options()
    options.literal = literal
    options.case_sensitive = not ignore_case
    options.never_nl = True  # a match lies in one line
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    said = pattern if literal else f"(?m:{pattern})"
    return _compiled(said.encode(errors="replace"), pattern, options)


def glob(pattern: str) -> re2._Regexp:
    """For paths, as text: `*` and `?` stay in one name, `**` does not. Raises ToolError."""
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    options.dot_nl = True
    return _compiled(_of_glob(pattern), pattern, options)


def _compiled(said: str | bytes, pattern: str, options: re2.Options) -> re2._Regexp:
    if len(pattern) > MAX_PATTERN:
        raise ToolError(f"the pattern has {len(pattern):,} characters; {MAX_PATTERN:,} are allowed")
    try:
        return re2.compile(said, options)
    except UnicodeEncodeError:
        raise ToolError("the pattern has half of a character in it") from None
    except re2.error as error:
        reason = error.args[0]
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ToolError(
            f"the pattern is not understood: {reason}. It is RE2's syntax, without lookaround and "
            "backreferences; for a plain text say literal"
        ) from None


def _of_glob(pattern: str) -> str:
    """The same as a regular expression."""
    said: list[str] = []
    at = depth = 0
    while at < len(pattern):
        piece, at = _piece(pattern, at)
        if piece == ")" and not depth:
            piece = re2.escape("}")
        depth += {"(?:": 1, ")": -1}.get(piece, 0)
        if depth > MAX_BRACES:
            raise ToolError(f"the pattern has more than {MAX_BRACES} braces in each other")
        said.append("|" if piece == re2.escape(",") and depth else piece)
    if depth:
        raise ToolError("a brace in the pattern is not closed")
    return "".join(said)


def _piece(pattern: str, at: int) -> tuple[str, int]:
    """What stands at `at`, as a regular expression, and where the next begins."""
    if pattern.startswith("**/", at):
        return "(?:.*/)?", at + 3
    if pattern.startswith("**", at):
        return ".*", at + 2
    character = pattern[at]
    if character == "[" and (end := pattern.find("]", at + 2)) > 0:
        return _class(pattern[at + 1 : end]), end + 1
    if character == "\\" and at + 1 < len(pattern):
        return re2.escape(pattern[at + 1]), at + 2
    simple = {"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}
    return simple.get(character) or re2.escape(character), at + 1


def _class(inside: str) -> str:
    negated = "^" if inside[0] in "!^" else ""
    members = inside[1:] if negated else inside
    escaped = "".join(f"\\{one}" if one in "\\[]^&~" else one for one in members)
    return f"[{negated}/{escaped}]" if negated else f"[{escaped}]"
