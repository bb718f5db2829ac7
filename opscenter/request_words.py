"""What the tree of a request says in words: how long it took, and why something failed (pure)."""

import json
import re
from typing import Any

from billing.tokens import TokenCounts
from opscenter.request_tree import STALL_MS, Call, Step

MOST_CHARS = 300  # of what a tool says of its failure; its own page has the rest

# By the error types of the Messages API.
_FAILURES = {
    "invalid_request_error": "The upstream took the request for a wrong one",
    "authentication_error": "The upstream did not take the credential",
    "billing_error": "The upstream's account does not pay for more",
    "permission_error": "The upstream does not let this credential do so",
    "not_found_error": "The upstream does not know the model",
    "request_too_large": "The request was too large for the upstream",
    "rate_limit_error": "The upstream is asked too often",
    "timeout_error": "The upstream fell silent",
    "overloaded_error": "The upstream has too much to do",
    "api_error": "The upstream broke off, or gave no answer that is one",
}
_ENDS = {
    "max_tokens": "cut off at the most tokens it may have",
    "model_context_window_exceeded": "cut off where the context was full",
    "refusal": "the model refused",
    "pause_turn": "the upstream's own tools want another turn",
}
_TONES = {
    "completed": "good",
    "succeeded": "good",
    "failed": "bad",
    "lost": "bad",
    "interrupted": "odd",
    "cancelled": "odd",
    "expired": "odd",
    "orphaned": "odd",
}
_STATES = {
    "admitted": "running",
    "approval": "waits for a person",
    "leased": "handed out",
    "orphaned": "machine silent",
}
_ANSWERS = {
    "pending": "waits for a person",
    "expired": "nobody answered",
    "withdrawn": "question withdrawn",
}
# The first text in a result that was cut off before its end.
_TEXT = re.compile(r'"(?:text|message)"\s*:\s*"((?:[^"\\]|\\.)*)')


def tone(state: str) -> str:
    """How a state looks: good, bad, odd, or busy while it lasts."""
    return _TONES.get(state, "busy")


def state(name: str) -> str:
    """A state as people say it."""
    return _STATES.get(name, name)


def duration(seconds: float) -> str:
    """How long something took."""
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def moment(seconds: float) -> str:
    """The same at a line of the timeline, where times are round."""
    if not seconds:
        return "0"
    if seconds < 1:
        return f"{seconds * 1000:g} ms"
    if seconds < 60:
        return f"{seconds:g} s"
    return duration(seconds).removesuffix(" 0 s").removesuffix(" 0 min")


def tokens(counts: TokenCounts) -> str:
    """Tokens by their class; the classes that are not used go unsaid."""
    told = [f"{counts.input_tokens:,} in", f"{counts.output_tokens:,} out"]
    others = {
        "read from cache": counts.cache_read_tokens,
        "written to cache for 5 min": counts.cache_write_5m_tokens,
        "written to cache for 1 h": counts.cache_write_1h_tokens,
        "server tool uses": counts.server_tool_uses,
    }
    return " · ".join([*told, *(f"{count:,} {name}" for name, count in others.items() if count)])


def why(step: Step) -> str:
    """Why a step failed or ended early; empty for one that did not."""
    if "swept" in step.flags.split():
        return "Its process died: what it used is an estimate."
    if step.state == "interrupted":
        return "The client left before the end."
    if step.state != "failed":
        return ""
    known = _FAILURES.get(step.error_type, "It failed")
    told = [step.error_type, f"HTTP {step.status}" if step.status else ""]
    more = ", ".join(filter(None, told))
    return f"{known} ({more})." if more else f"{known}."


def way(step: Step, known: str) -> str:
    """Who answered under which names; what was asked for too, unless it is known."""
    asked = [] if step.requested_model in (known, step.target_model) else [step.requested_model]
    told = " → ".join([*asked, step.target_model])
    other = step.served_model not in ("", step.target_model)
    return f"{told} at {step.upstream}" + (f", as {step.served_model}" if other else "")


def lasted(step: Step) -> str:
    """How long a step took; empty while it lasts."""
    return duration(_s(step.began, step.ended)) if step.ended else ""


def course(step: Step) -> list[str]:
    """How a step went, as far as there is something to say."""
    first, silence = step.first_byte_ms, step.longest_silence_ms or 0
    return [
        *([lasted(step)] if step.ended else []),
        *([f"first byte after {duration(first / 1000)}"] if first is not None else []),
        *([f"silent for {duration(silence / 1000)}"] if silence >= STALL_MS else []),
        *([f"moved here from {step.moved_from}"] if step.moved_from else []),
        *([f"asked {step.attempts} times"] if step.attempts > 1 else []),
        *([_ENDS[step.stop_reason]] if step.stop_reason in _ENDS else []),
    ]


def gone(step: Step, keep_days: int) -> str:
    """What is said where a step has called tools and there is no row of a call."""
    some = "a tool" if step.called == 1 else f"{step.called:,} tools"
    return (
        f"It called {some}; no call is here: they were the client's own, or did not begin, or"
        f" ended more than {keep_days} days ago and were deleted."
    )


def times(call: Call) -> list[str]:
    """How long a call waited and ran, as far as it has."""
    if call.started is None:
        if call.finished is None:
            return []
        return [f"never ran, waited {duration(_s(call.made, call.finished))}"]
    waited = f"waited {duration(_s(call.made, call.started))}"
    if call.finished is None:
        return [waited]
    return [waited, f"ran {duration(_s(call.started, call.finished))}"]


def answer(given: str, decider: str, source: str) -> str:
    """What became of the question whether a call may run."""
    if given in _ANSWERS:
        return _ANSWERS[given]
    by = f" by {decider}" if decider else ""
    return f"{given}{by}" + (f" ({source})" if source else "")


def said(result: str) -> str:
    """What a failed result says, of which only the beginning may be here; in one line."""
    if not result:
        return ""
    try:
        text = _text_of(json.loads(result))
    except (ValueError, RecursionError):  # cut off
        found = _TEXT.search(result)
        text = _unescaped(found[1]) if found else ""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= MOST_CHARS else f"{line[: MOST_CHARS - 1]}…"


def _text_of(result: Any) -> str:
    """Of a result of MCP's, or of a JSON-RPC error."""
    if not isinstance(result, dict):
        return ""
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    texts = [str(one.get("text", "")) for one in parts if isinstance(one, dict)]
    return "\n".join(filter(None, texts)) or str(result.get("message", ""))


def _unescaped(text: str) -> str:
    """The text of a JSON string that may end in the middle of an escape."""
    for left_out in range(7):  # \\uXXXX without its last digit
        try:
            return str(json.loads(f'"{text[: len(text) - left_out]}"', strict=False))
        except ValueError:
            continue
    return ""


def _s(start: Any, end: Any) -> float:
    return float((end - start).total_seconds())
