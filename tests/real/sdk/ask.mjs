// Makes the named calls with Anthropic's TypeScript SDK and prints one JSON line for each.

import Anthropic from "@anthropic-ai/sdk";

const ASK = {
  model: "claude-opus-5-5",
  max_tokens: 1000,
  messages: [{ role: "user", content: "Grüße, 你好" }],
};
const BETAS = ["context-management-2025-06-27"];

const client = new Anthropic();

async function streamed(stream) {
  const kinds = [];
  for await (const event of stream) kinds.push(event.type);
  return { message: await stream.finalMessage(), request_id: stream.request_id, kinds };
}

const CALLS = {
  async create() {
    const message = await client.messages.create(ASK);
    return { message, request_id: message._request_id };
  },
  stream: () => streamed(client.messages.stream(ASK)),
  beta_stream: () => streamed(client.beta.messages.stream({ ...ASK, betas: BETAS })),
  async count_tokens() {
    const { model, messages } = ASK;
    const counted = await client.messages.countTokens({ model, messages });
    return { input_tokens: counted.input_tokens, request_id: counted._request_id };
  },
  async models() {
    const ids = [];
    const sizes = [];
    for await (const model of client.models.list({ limit: 2 })) ids.push(model.id);
    const first = await client.models.list({ limit: 2 });
    for await (const page of first.iterPages()) sizes.push(page.data.length);
    return { ids, sizes };
  },
  async model() {
    const first = await client.models.list({ limit: 1 });
    const found = await client.models.retrieve(first.data[0].id);
    return { id: found.id, display_name: found.display_name, request_id: found._request_id };
  },
  unknown_model: () => client.models.retrieve("no-such-model"),
  unknown_path: () => client.get("/v1/no-such-path"),
};

async function outcome(name) {
  try {
    return await CALLS[name]();
  } catch (error) {
    if (!(error instanceof Anthropic.APIError)) throw error;
    return {
      error: error.constructor.name,
      status: error.status,
      type: error.type,
      message: error.message,
      request_id: error.requestID,
    };
  }
}

for (const name of process.argv.slice(2)) console.log(JSON.stringify(await outcome(name)));
