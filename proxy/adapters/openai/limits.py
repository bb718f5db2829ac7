"""What a server can hold, and what it may do without once it has refused something."""

import re
from collections.abc import Mapping
from typing import Any

from proxy.adapters.openai.translation import Profile
from proxy.wire.body import BodyError

MAX_SAID_CHARS = 4_000  # of a refusal; some repeat the whole request in it
_ERROR_PART = 10  # one part in so many of an estimate may be wrong without the server refusing


def room(body: Mapping[str, Any], tokens: int, profile: Profile) -> int:
    """How many tokens the answer may have, after `tokens` of input: at least one.

    Raises BodyError where the input alone does not fit.
    """
    wanted = body.get("max_tokens")
    if isinstance(wanted, bool) or not isinstance(wanted, int):
        raise BodyError("max_tokens: Input should be a valid integer")
    bounds = [wanted]
    if profile.max_output_tokens is not None:
        bounds.append(profile.max_output_tokens)
    if profile.context_window is not None:
        left = profile.context_window - tokens
        if left < 0:
            window = profile.context_window
            raise BodyError(f"prompt is too long: {tokens} tokens > {window} maximum")
        # Never more than half of what is left: an answer cut short is worse than one refused.
        bounds.append(left - min(tokens // _ERROR_PART, left // 2))
    return max(1, min(bounds))


# What servers say, and what to do without when they say it. The first row that matches and is not
# conceded yet counts, so the rows that name one parameter come before those that tell of a kind.
# OpenAI, Azure, vLLM, SGLang, llama.cpp, Ollama, Mistral, DeepSeek, Groq, Gemini and LiteLLM word
# these in their own ways. A gap is bounded, so that no text takes long.
_WORDINGS = (
    ("max_tokens", r"max_tokens.{0,80}\buse .?max_completion_tokens"),
    ("max_tokens", r"(?:unsupported|unknown|unrecognized).{0,60}\bmax_tokens\b"),
    ("stream_options", r"\bstream_options\b"),
    ("reasoning_effort", r"\breasoning_effort\b|\breasoning\.effort\b"),
    ("reasoning_effort", r"does not support thinking|thinking is not supported"),
    ("reasoning history", r"(?<!missing .)\breasoning_content\b"),
    ("response_format", r"\bresponse_format\b"),
    ("prefill", r"\bcontinue_final_message\b|\badd_generation_prompt\b"),
    ("prefill", r"expected last role.{0,80}got assistant|assistant response prefill"),
    ("prefill", r"assistant messages? at the end|must end with a user message"),
    ("prefill", r"last message.{0,40}(?:must|should).{0,20}(?:\buser\b|not be.{0,20}assistant)"),
    ("parallel_tool_calls", r"\bparallel_tool_calls\b"),
    ("top_k", r"\btop_k\b"),
    ("sampling", r"\b(?:temperature|top_p)\b.{0,80}(?:\bonly\b.{0,40}(?:default|supported))"),
    ("sampling", r"(?:unsupported|does not support) .{0,60}\b(?:temperature|top_p)\b"),
    ("stop", r"(?:unsupported|does not support) .{0,60}\bstop\b"),
    ("user", r"(?:unsupported|unknown|unrecognized|does not support) .{0,60}['\"\[ ]user\b['\"\]]"),
    ("user", r"\bbody\b['\", .]{1,6}user\b['\"\]]"),
    ("long tool ids", r"tool.call.id.{0,200}(?:length of 9|a-z, a-z, 0-9)"),
    ("late system", r"unexpected role .?system.? after"),
    ("late system", r"system (?:message|role|prompt).{0,40}(?:beginning|first|start)"),
    ("late system", r"only.{0,30}first.{0,20}system|multiple system messages"),
    ("late system", r"roles must alternate"),
    ("images", r"image_url.{0,4} is only supported|(?:unknown|invalid).{0,40}\bimage_url\b"),
    ("images", r"image inputs?\b.{0,40}not (?:supported|enabled)|content.{0,4} must be a string"),
    ("images", r"not a multimodal model|at most 0 images?|required for image input"),
    ("images", r"(?:does not|doesn't|cannot|not) (?:support|accept|process).{0,30}\bimages?\b"),
    ("images", r"\bimages?\b.{0,30}(?:not|n't) (?:supported|allowed)|\bmmproj\b"),
    ("files", r"(?:unknown|unsupported|invalid|unexpected).{0,60}['\"`: ]file\b(?! not)"),
    ("files", r"content.{0,4} must be a string|(?:not|n't) support.{0,30}\b(?:files?|pdfs?)\b"),
    (
        "schema keywords",
        r"invalid schema for|json.?schema.{0,80}(?:not supported|fail|unsupported)",
    ),
    (
        "schema keywords",
        r"(?:unsupported|unrecognized|invalid|fail).{0,40}(?:schema|grammar|regex)",
    ),
    ("schema keywords", r"grammar.{0,40}(?:error|invalid|fail)|pattern must start with"),
    ("schema keywords", r"not supported by (?:xgrammar|outlines|guidance|llguidance)"),
    ("schema keywords", r"unknown name .{0,4}(?:\$schema|additionalproperties|const|exclusive)"),
    ("schema keywords", r"schema.{0,60}(?:unknown|unsupported|not permitted) (?:keyword|format)"),
)
_PATTERNS = [(name, re.compile(wording, re.DOTALL)) for name, wording in _WORDINGS]
# What the next request need not find out again. A refusal may repeat what a client wrote, so what
# one client has brought about must not take images, files or formats from all the others.
LASTING = frozenset(name for name, _ in _WORDINGS) - {
    "images",
    "files",
    "schema keywords",
    "response_format",
    "prefill",
}


def concession(said: str, conceded: frozenset[str]) -> str:
    """What to do without so that a refusal in these words may not come again; empty for nothing."""
    text = said[:MAX_SAID_CHARS].lower()
    for name, pattern in _PATTERNS:
        if name not in conceded and pattern.search(text):
            return name
    return ""
