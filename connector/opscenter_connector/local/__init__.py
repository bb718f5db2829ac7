"""The built-in MCP server `local`: files and a shell, within the folders that a person named."""
