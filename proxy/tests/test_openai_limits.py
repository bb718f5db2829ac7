"""What a server may do without once it has refused something."""

import pytest

from proxy.adapters.openai.limits import LASTING, concession

# Shortened, but in the words of OpenAI, Azure, vLLM, Mistral, llama.cpp, Ollama, LiteLLM, Groq,
# DeepSeek and Gemini.
SAID = [
    (
        "max_tokens",
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
    ),
    ("stream_options", "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options')}]"),
    (
        "reasoning_effort",
        "litellm.UnsupportedParamsError: openai does not support parameters: "
        "['reasoning_effort'], for model=x",
    ),
    ("reasoning_effort", "Unrecognized request argument supplied: reasoning_effort"),
    ("reasoning_effort", '"llama3.2" does not support thinking'),
    ("reasoning history", "property 'reasoning_content' is unsupported"),
    (
        "response_format",
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported "
        "with this model.",
    ),
    ("response_format", "This response_format type is unavailable now"),
    ("prefill", "Unknown parameter: 'continue_final_message'."),
    (
        "prefill",
        "Expected last role User or Tool (or Assistant with prefix True) for serving "
        "but got assistant",
    ),
    ("prefill", "Cannot have 2 or more assistant messages at the end of the list."),
    ("parallel_tool_calls", "Unknown parameter: 'parallel_tool_calls'."),
    ("top_k", "Unrecognized request argument supplied: top_k"),
    ("top_k", '{"detail":[{"type":"extra_forbidden","loc":["body","top_k"]}]}'),
    (
        "sampling",
        "Unsupported value: 'temperature' does not support 0.2 with this model. "
        "Only the default (1) value is supported.",
    ),
    ("sampling", "Unsupported parameter: 'top_p' is not supported with this model."),
    ("stop", "Unsupported parameter: 'stop' is not supported with this model."),
    ("user", "openai does not support parameters: ['user'], for model=x"),
    ("user", '{"detail":[{"type":"extra_forbidden","loc":["body","user"]}]}'),
    (
        "long tool ids",
        "Tool call id was toolu_01 but must be a-z, A-Z, 0-9, with a length of 9.",
    ),
    ("late system", "Unexpected role 'system' after role 'user'"),
    ("late system", "System message must be at the beginning."),
    (
        "late system",
        "After the optional system message, conversation roles must alternate "
        "user/assistant/user/assistant/...",
    ),
    (
        "images",
        "Invalid content type. image_url is only supported by certain models.",
    ),
    ("images", "unknown variant `image_url`, expected `text`"),
    ("images", "image input is not supported - hint: you may need to provide the mmproj"),
    ("images", "x is not a multimodal model"),
    ("images", "At most 0 image(s) may be provided in one prompt."),
    ("images", "this model is missing data required for image input"),
    ("files", "Invalid value: 'file'. Supported values are: 'text', 'image_url'."),
    ("files", "Unknown part type: file"),
    ("schema keywords", "Invalid schema for function 'f': array schema missing items."),
    (
        "schema keywords",
        "The provided JSON schema contains features not supported by xgrammar.",
    ),
    ("schema keywords", "JSON schema conversion failed: Unrecognized schema"),
    ("schema keywords", "failed to parse grammar"),
    ("schema keywords", "Pattern must start with '^' and end with '$'"),
    ("schema keywords", 'Unknown name "exclusiveMinimum" at tools[0]: Cannot find field.'),
]


@pytest.mark.parametrize(("name", "said"), SAID)
def test_it_knows_what_the_refusal_is_about(name: str, said: str) -> None:
    assert concession(said, frozenset()) == name
    assert concession(said, frozenset({name})) != name


@pytest.mark.parametrize(
    "said",
    [
        "",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum "
        "context length is 4096 tokens and your request has 5000 input tokens.",
        "temperature must be between 0 and 2",
        "Failed to download the image at image_url.url",
        "Incorrect API key provided",
        "Missing `reasoning_content` field in the assistant message at message index 1.",
        '"auto" tool choice requires --enable-auto-tool-choice',
    ],
)
def test_it_concedes_nothing_that_would_not_help(said: str) -> None:
    assert concession(said, frozenset()) == ""


def test_what_one_client_brings_about_takes_nothing_from_the_others() -> None:
    assert "stream_options" in LASTING
    assert not LASTING & {"images", "files", "schema keywords", "response_format", "prefill"}
