"""A Messages request in the language of Chat Completions."""

from collections.abc import Mapping
from typing import Any

from proxy.adapters.openai.fields import a_list, an_object, check_writable, string_of
from proxy.adapters.openai.limits import room
from proxy.adapters.openai.messages import Message, messages_of, system_texts
from proxy.adapters.openai.options import format_instruction, options, stop_sequences
from proxy.adapters.openai.tools import Offer, offered
from proxy.adapters.openai.translation import Profile, Translation
from proxy.adapters.openai.turns import Turn, turns_of
from proxy.wire.body import BodyError
from proxy.wire.estimate import input_tokens

# Without these the answer would be one to another question. All else that is not known to Chat
# Completions changes at most how good or how dear the answer is, and is left out.
_NEEDED = ("mcp_servers", "container", "thread", "compaction")


def translated(body: Mapping[str, Any], profile: Profile) -> Translation:
    """Translate a decoded body of /v1/messages. Raises BodyError for what cannot be said."""
    check_writable(body)
    _check_needed(body)
    turns = turns_of(body, profile)
    offer = offered(body, turns, profile)
    tokens = _estimate(body, turns, offer)
    sent: dict[str, Any] = {"model": profile.model, "messages": _messages(body, turns, profile)}
    sent |= offer.fields
    sent |= options(body, profile, max_tokens=room(body, tokens, profile))
    return Translation(
        body=sent | _prefill(sent["messages"], profile),
        tool_names=offer.names,
        stop_sequences=stop_sequences(body),
        safeguards=_safeguards(body),
        input_tokens=tokens,
    )


def _check_needed(body: Mapping[str, Any]) -> None:
    for name in _NEEDED:
        if body.get(name):
            raise BodyError(f"{name}: the upstream of this model has no such thing")


def _estimate(body: Mapping[str, Any], turns: list[Turn], offer: Offer) -> int:
    """The tokens of what is sent, which is less than what has come."""
    told = [turn.told() for turn in turns]
    return input_tokens({"system": body.get("system"), "messages": told, "tools": offer.declared})


def _messages(body: Mapping[str, Any], turns: list[Turn], profile: Profile) -> list[Message]:
    """All messages, with everything that the system says at first in one."""
    messages = messages_of(turns, profile.conceded)
    texts = system_texts(body.get("system"))
    if messages[0]["role"] == "system":
        texts.append(messages.pop(0)["content"])
    instruction = format_instruction(body, profile)
    if instruction:
        texts.append(instruction)
    leading = [{"role": "system", "content": "\n\n".join(texts)}] if texts else []
    return leading + messages


def _prefill(messages: list[Message], profile: Profile) -> dict[str, Any]:
    if messages[-1]["role"] != "assistant":
        return {}
    if "prefill" in profile.conceded:
        raise BodyError(
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    return {"continue_final_message": True, "add_generation_prompt": False}


def _safeguards(body: Mapping[str, Any]) -> list[str]:
    """The types of verdict that the client asks for; the judging is not the upstream's."""
    value = body.get("safeguards")
    kinds = []
    for number, wanted in enumerate([] if value is None else a_list(value, "safeguards")):
        at = f"safeguards.{number}"
        kinds.append(string_of(an_object(wanted, at), "type", at))
    return kinds
