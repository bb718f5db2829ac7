"""The language of OpenAI's Chat Completions, which most other servers speak. Pure."""
