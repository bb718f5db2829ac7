"""The tunnel's pages in the admin; importing them registers them."""

from mcp.admin import approvals, machines, policies, servers, tool_calls

__all__ = ["approvals", "machines", "policies", "servers", "tool_calls"]
