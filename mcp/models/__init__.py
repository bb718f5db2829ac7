"""Machines, the MCP servers they front, the queue of tool calls, and who allowed what."""

from mcp.models.approvals import Approval
from mcp.models.audited import AuditedCall
from mcp.models.calls import ToolCall, ToolCallEvent
from mcp.models.machines import Connector, McpServer, McpTool
from mcp.models.policies import OrganizationPolicy, PolicyRule, PolicyVersion
from mcp.models.tasks import Task

__all__ = [
    "Approval",
    "AuditedCall",
    "Connector",
    "McpServer",
    "McpTool",
    "OrganizationPolicy",
    "PolicyRule",
    "PolicyVersion",
    "Task",
    "ToolCall",
    "ToolCallEvent",
]
