"""The tunnel's pages in the admin; importing them registers them."""

from mcp.admin import machines, servers, tool_calls

__all__ = ["machines", "servers", "tool_calls"]
