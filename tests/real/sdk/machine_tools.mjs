// Has the model use a machine's tools with Anthropic's TypeScript SDK; a JSON line for each way.

import Anthropic from "@anthropic-ai/sdk";

const ASK = {
  model: "claude-opus-5-5",
  max_tokens: 1000,
  messages: [{ role: "user", content: "What does the laptop want?" }],
};
const TOOLS = {
  mcp_servers: [{ type: "url", url: "tunnel://laptop/files", name: "files" }],
  tools: [{ type: "mcp_toolset", mcp_server_name: "files" }],
  betas: ["mcp-client-2025-11-20"],
};

const client = new Anthropic();
const print = (message) => console.log(JSON.stringify(message));

print(await client.beta.messages.stream({ ...ASK, ...TOOLS }).finalMessage());
print(await client.beta.messages.create({ ...ASK, ...TOOLS }));
print(await client.messages.stream({ ...ASK, model: "claude-agent-reader" }).finalMessage());
