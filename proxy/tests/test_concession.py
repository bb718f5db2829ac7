"""What other servers say when they do not know a part of the API, and what is done about it."""

import json
from typing import Any

import pytest

from proxy.wire.body import JSONObject
from proxy.wire.concession import ALL, MAX_SAID_CHARS, OF_ANTHROPIC, conceding, concession

SIGNATURES = [
    "messages.1.content.0: Invalid `signature` in `thinking` block",
    "messages.3.content.0.thinking.signature: Field required",
    "messages.1.content.0.thinking.signature.str: Input should be a valid string",
    "messages.1.content.0: Input tag 'thinking' found using 'type' does not match any",
    "`thinking` blocks in the latest assistant message cannot be modified.",
    "unsupported content block type: thinking",
    "The signature of the thinking block could not be verified",
]
SYSTEM = [
    'messages: Unexpected role "system". Use the top-level `system` parameter.',
    "messages.1.role: Input should be 'user' or 'assistant'",
    "1 error\nmessages.1.role\n  Input should be 'user' or 'assistant' [type=literal_error]",
    "{'loc': ('body', 'messages', 1, 'role'), 'msg': \"Input should be 'user' or 'assistant'\"}",
    'invalid role: "system"',
    "System message must be at the beginning.",
    "System role not supported",
    "Conversation roles must alternate user/assistant/user/assistant/...",
    "After the optional system message, conversation roles must alternate user and assistant",
    "Only user and assistant roles are supported!",
]
FIELDS = [
    ("context_management: Extra inputs are not permitted", "context_management"),
    ("body.context_management: Extra inputs are not permitted", "context_management"),
    ("safeguards: Extra inputs are not permitted", "safeguards"),
    ("output_config: Extra inputs are not permitted", "output_config"),
    ("output_config.effort: Input should be 'low', 'medium' or 'high'", "output_config"),
    ("thinking: Input tag 'adaptive' found using 'type' does not match", "thinking"),
    ("thinking.type: Input should be 'enabled'", "thinking"),
    ("registry.example/library/qwen3:latest does not support thinking", "thinking"),
    ("Messages.create() got an unexpected keyword argument 'safeguards'", "safeguards"),
    ('json: unknown field "metadata"', "metadata"),
    ("Unknown field: service_tier", "service_tier"),
    ("Unrecognized request argument supplied: metadata", "metadata"),
    ("Unsupported parameter: 'speed' is not supported with this model.", "speed"),
    ("context_management\n  Extra inputs are not permitted [type=x]", "context_management"),
]
NOTHING = [
    "",
    "prompt is too long: 5 tokens > 4 maximum",
    "max_tokens: 128000 > 8192, which is the maximum allowed number of output tokens",
    "messages.0.content.0.thinking: Extra inputs are not permitted",
    "tools.3.metadata: Extra inputs are not permitted",
    "messages.1.role: Input should be 'user', 'assistant' or 'tool'",
    "temperature: Input should be less than or equal to 1",
    "The model is thinking about its metadata.",
    "unknown-metadata-store is down",
]


@pytest.mark.parametrize("said", SIGNATURES)
def test_it_knows_a_refusal_of_thinking(said: str) -> None:
    assert concession(said, frozenset()) == "thinking signatures"
    assert concession(said, frozenset(), known=OF_ANTHROPIC) == "thinking signatures"


@pytest.mark.parametrize("said", SYSTEM)
def test_it_knows_a_refusal_of_the_system_role(said: str) -> None:
    assert concession(said, frozenset()) == "system role"


@pytest.mark.parametrize(("said", "field"), FIELDS)
def test_it_knows_a_refusal_of_a_field(said: str, field: str) -> None:
    assert concession(said, frozenset()) == field


@pytest.mark.parametrize("said", NOTHING)
def test_it_concedes_nothing_to_any_other_refusal(said: str) -> None:
    assert concession(said, frozenset()) == ""


@pytest.mark.parametrize("said", [said for said, _ in FIELDS] + SYSTEM)
def test_it_takes_nothing_from_a_request_to_anthropic_but_thinking(said: str) -> None:
    assert concession(said, frozenset(), known=OF_ANTHROPIC) == ""


@pytest.mark.parametrize("said", [*SIGNATURES, *SYSTEM, *(said for said, _ in FIELDS)])
def test_it_concedes_the_same_thing_once(said: str) -> None:
    assert concession(said, {concession(said, frozenset())}) == ""


def test_effort_is_looked_for_in_both_fields_that_it_may_come_from() -> None:
    said = (
        "litellm.UnsupportedParamsError: scripted doesn't support `reasoning.effort` (its model "
        "cost map entry lacks `supports_reasoning`). To drop unsupported params set "
        "`litellm.drop_params = True`"
    )
    assert concession(said, frozenset()) == "output_config"
    assert concession(said, {"output_config"}) == "thinking"
    assert concession(said, {"output_config", "thinking"}) == ""


def test_a_complaint_of_two_fields_is_met_field_by_field() -> None:
    said = "speed: Extra inputs are not permitted; metadata: Extra inputs are not permitted"
    assert concession(said, frozenset()) == "speed"
    assert concession(said, {"speed"}) == "metadata"


@pytest.mark.parametrize(
    "piece",
    ["metadata ", "unknown ", "thinking signature ", "system role ", "\n", "messages.1.role "],
)
def test_it_reads_only_so_much_of_a_refusal(piece: str) -> None:
    said = piece * 200_000 + "x: Invalid `signature` in `thinking` block"
    assert concession(said, frozenset()) == concession(said[:MAX_SAID_CHARS], frozenset())


def test_it_does_without_all_that_was_conceded() -> None:
    fields: dict[str, Any] = {name: {"type": "x"} for name in ALL if " " not in name}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    said = {"type": "text", "text": "a"}
    request = fields | {
        "model": "m",
        "messages": [
            {"role": "user", "content": [said]},
            {"role": "system", "content": "s"},
            {"role": "assistant", "content": [thought, said]},
        ],
    }
    it = JSONObject.parse(json.dumps(request).encode())
    assert conceding(it, frozenset({"top_k"})) is it
    assert conceding(it, ALL).decoded() == {
        "model": "m",
        "messages": [
            {"role": "user", "content": [said, {"type": "text", "text": "s"}]},
            {"role": "assistant", "content": [said]},
        ],
    }
