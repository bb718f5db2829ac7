"""Has the model use a machine's tools with Anthropic's Python SDK; a JSON line for each way."""

import json
import sys
from typing import Any

import anthropic

ASK: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "What does the laptop want?"}],
}
TOOLS: dict[str, Any] = {
    "mcp_servers": [{"type": "url", "url": "tunnel://laptop/files", "name": "files"}],
    "tools": [{"type": "mcp_toolset", "mcp_server_name": "files"}],
    "betas": ["mcp-client-2025-11-20"],
}
AGENT = {"model": "claude-agent-reader"}

client = anthropic.Anthropic()


def tell(message: Any) -> None:
    sys.stdout.write(f"{json.dumps(message.to_dict())}\n")


with client.beta.messages.stream(**ASK, **TOOLS) as by_beta:
    tell(by_beta.get_final_message())
tell(client.beta.messages.create(**ASK, **TOOLS))
with client.messages.stream(**ASK | AGENT) as by_agent:
    tell(by_agent.get_final_message())
