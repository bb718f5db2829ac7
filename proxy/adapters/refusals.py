"""What servers that are not Anthropic refuse with, in the words of the Messages API."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from proxy.answer import UpstreamRefusedUsError, UpstreamSaidError
from proxy.wire import refusal as shapes
from proxy.wire.refusal import Refusal

MAX_BODY_BYTES = 1024 * 1024  # an explanation is shorter; more is not worth reading
_OURS = frozenset({"authentication_error", "permission_error"})  # errors of our credential
MAX_NUMBER = 10**10  # of tokens; what is larger was no count

_LENGTH = r"maximum context length (?:is|of) (?P<window>\d+) tokens"

# How servers say that a request does not fit into the model's context window. Each is looked for
# in the text, in lower case; the groups are numbers of tokens, where the server tells any:
# prompt (what was sent), output (what was asked for), window (what fits).
_OVERFLOWS = tuple(
    re.compile(pattern)
    for pattern in (
        # Anthropic, also through LiteLLM
        r"prompt is too long: (?P<prompt>\d+) tokens > (?P<window>\d+) maximum",
        # OpenAI, vLLM, DeepSeek, OpenRouter, SGLang
        _LENGTH + r".{0,80}?resulted in (?P<prompt>\d+)",
        _LENGTH + r".{0,80}?requested (?:about |a total of )?\d+ tokens[ :(]+(?P<prompt>\d+)"
        r"[^,:]{0,60}(?:,|and) (?P<output>\d+)",
        _LENGTH + r" and your request has (?P<prompt>\d+) input tokens \((?P<output>\d+)",
        r"passed (?P<prompt>\d+) input tokens and requested (?P<output>\d+) output tokens"
        r".{0,80}?context length is only (?P<window>\d+)",
        r"prompt \(length (?P<prompt>\d+)\) is longer than the maximum model length of"
        r" (?P<window>\d+)",
        r"input \((?P<prompt>\d+) tokens\) is longer than the model's context length"
        r" \((?P<window>\d+)",
        r"maximum prompt length is (?P<window>\d+) but the request contains (?P<prompt>\d+)",
        # llama.cpp
        r"request \((?P<prompt>\d+) tokens\) exceeds the available context size"
        r" \((?P<window>\d+) tokens",
        r"exceeds the available context size",
        # Mistral, Gemini, Text Generation Inference, Cohere
        r"prompt contains (?P<prompt>\d+) tokens.{0,80}?model with (?P<window>\d+) maximum context",
        r"input token count \((?P<prompt>\d+)\) exceeds the maximum number of tokens allowed"
        r" \((?P<window>\d+)\)",
        r"must be <= (?P<window>\d+)\. given: (?P<prompt>\d+) `inputs` tokens and"
        r" (?P<output>\d+) `max_new_tokens`",
        r"`inputs` must have less than (?P<window>\d+) tokens\. given: (?P<prompt>\d+)",
        r"tokens in the prompt cannot exceed (?P<window>\d+) - received (?P<prompt>\d+)",
        # LM Studio, Ollama, LiteLLM and whatever stands behind it
        r"keep the first (?P<prompt>\d+) tokens .{0,80}?context length of only (?P<window>\d+)",
        _LENGTH,
        r"exceed(?:s|ed)? (?:the |the model's |the maximum |max )?context (?:length|window)",
        r"contextwindowexceedederror|context_length_exceeded|exceed_context_size_error",
        r"prompt is too long|(?:prompt|input) (?:is )?too long",
        r"reduce the length of the (?:messages|prompt|input)",
    )
)

_MODEL_UNKNOWN = re.compile(
    r"model_not_found|model [\"'`]?[^\s\"'`]{1,200}[\"'`]? (?:was )?(?:not found|does not exist)"
    r"|no such model|unknown model|invalid model name"
)
# What may be a credential: by the way it begins, by its length, and by what stands before it.
_CREDENTIAL = re.compile(
    r"\b(?:sk|gsk|xai|hf|nvapi|pplx)[-_][\w*.-]{8,}|\bAIza[\w-]{20,}|\beyJ[\w-]{8,}\.[\w.-]*"
    r"|\b(?=\w{0,40}\d)(?=\w{0,40}[a-z])\w{40,}",
    re.IGNORECASE,
)
_NAMED_CREDENTIAL = re.compile(
    r"((?:api[-_ ]?key(?: provided)?|(?:access|auth|api)[-_ ]token|password|secret)[\"']?"
    r"[ ]?[:=][ ]?[\"']?|\b(?:bearer|basic)[ ])[^\s\"',;]{8,}",
    re.IGNORECASE,
)


class _Overflow(NamedTuple):
    """A request that does not fit, in tokens; None is what the server does not tell."""

    prompt: int | None = None
    output: int | None = None
    window: int | None = None


def refusal(status: int, body: bytes, *, window: int | None) -> tuple[int, bytes]:
    """A server's HTTP error in the shape and the meaning of the Messages API: status and body.

    `window` is the model's context window in tokens, for a server that does not tell it. The
    server's own text is passed on, shortened and without anything that looks like a credential. A
    body that is right already stays as it is.
    """
    error = _object(_object(msgspec.json.decode(_repaired(status, body))).get("error"))
    said = Refusal(str(error.get("type")), _with_cause(str(error.get("message")), _decoded(body)))
    meant, right = _meaning(status, said, _decoded(body), window)
    right = Refusal(right.kind, _clean(right.text))
    if (meant, right) == (status, said) and shapes.is_right(_decoded(body)):
        return status, body  # with whatever else the server has put into it
    error = {"type": right.kind, "message": right.text}
    return meant, msgspec.json.encode({"type": "error", "error": error})


def raise_if_said(value: Mapping[str, Any]) -> None:
    """Raise UpstreamSaidError where a piece of an answer is an error instead."""
    said = None if "choices" in value and "error" not in value else shapes.refusal(value)
    if said is None:
        return
    if said.kind in _OURS:
        raise UpstreamRefusedUsError(f"The upstream refused this gateway: {_clean(said.text)}")
    said = Refusal(said.kind, _with_cause(said.text, value))
    _, said = _meaning(500, said, value, None)
    raise UpstreamSaidError(said.kind, _clean(said.text))


def _repaired(status: int, body: bytes) -> bytes:
    if len(body) > MAX_BODY_BYTES:
        body = body[: shapes.MAX_TEXT_CHARS]
    elif body.lstrip()[:1] == b"[":
        value = _decoded(body)  # Google's servers put the error into a list
        body = msgspec.json.encode(value) if value else body
    return shapes.repaired_error(status, body)


def _meaning(status: int, said: Refusal, value: Any, window: int | None) -> tuple[int, Refusal]:
    """What an error comes to for a client that cannot know which server stands behind us."""
    fields = _object(_object(value).get("error")) or _object(value)
    names = f"{fields.get('code')} {fields.get('type')} "
    overflow = _overflow(names + said.text, fields)
    if overflow is not None and said.kind != "rate_limit_error":
        return 400, Refusal("invalid_request_error", _too_long(overflow, window, said.text))
    if "insufficient_quota" in names:
        # Still a 429, but of the one kind that trying again does not cure.
        return 429, Refusal("billing_error", said.text)
    if status in {401, 403} or "no_db_connection" in names or said.kind in _OURS:
        # It speaks of the gateway's credential. Passed on, it would accuse the user's own. LiteLLM
        # without a database answers 400 to a key that it does not know.
        return 502, Refusal("api_error", f"The upstream refused this gateway: {said.text}")
    if status == 404 or (status == 400 and _MODEL_UNKNOWN.search((names + said.text).lower())):
        return 404, Refusal("not_found_error", said.text)
    return (status if 400 <= status < 600 else 502), said


def _overflow(text: str, fields: Mapping[str, Any]) -> _Overflow | None:
    text = text[: shapes.MAX_TEXT_CHARS].lower().replace("\n", " ")
    found = next((found for p in _OVERFLOWS if (found := p.search(text))), None)
    if found is None:
        return None
    told = {name: int(number[:11]) for name, number in found.groupdict().items() if number}
    told = {name: number for name, number in told.items() if number <= MAX_NUMBER}
    return _Overflow(
        prompt=told.get("prompt") or _count(fields.get("n_prompt_tokens")),
        output=told.get("output"),
        window=told.get("window") or _count(fields.get("n_ctx")),
    )


def _too_long(overflow: _Overflow, window: int | None, text: str) -> str:
    """The Messages API's own words: by these clients know what to make smaller."""
    most = overflow.window or window
    if most is None:
        return text if "prompt is too long" in text else f"prompt is too long: {text}"
    prompt, output = overflow.prompt, overflow.output
    if prompt is None:
        prompt = most + 1  # the least that the server can have meant
    if prompt >= most or output is None:
        return f"prompt is too long: {max(prompt, most + 1)} tokens > {most} maximum"
    # To compact the conversation would not help here: what was asked for is too much by itself.
    return (
        f"max_tokens: {output} > {most - prompt}, which is the maximum number of output tokens"
        f" that fits after {prompt} tokens of input"
    )


def _with_cause(text: str, value: Any) -> str:
    """The text with what the server behind the server has said, as OpenRouter passes it on."""
    error = _object(_object(value).get("error"))
    raw = _object(error.get("metadata")).get("raw")
    return f"{text}: {raw[: shapes.MAX_TEXT_CHARS]}" if isinstance(raw, str) and raw else text


def _clean(text: str) -> str:
    text = _NAMED_CREDENTIAL.sub(r"\1[removed]", text[: shapes.MAX_TEXT_CHARS])
    return _CREDENTIAL.sub("[removed]", text)


def _decoded(body: bytes) -> Any:
    if len(body) > MAX_BODY_BYTES:
        return None
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    return value[0] if isinstance(value, list) and value else value


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_NUMBER
    return value if is_count and isinstance(value, int) else None
