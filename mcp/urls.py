"""The HTTP pages of the tunnel, below /api/mcp/."""

from django.urls import re_path

from mcp.views import approvals, execute, polling, register, standing, tool_calls, upgrade

# With and without the slash at the end: a redirect would lose the body of a POST.
SERVER = r"^register/(?P<server_id>[A-Za-z0-9_.-]{1,64})"
APPROVAL = r"^approvals/(?P<approval_id>[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"
CALL = r"^calls/(?P<call_id>[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"

urlpatterns = [
    re_path(r"^ws/(?P<user_id>[^/]+)$", upgrade.required),  # as in mcp/routing.py
    # Described from here; served by mcp/lean_urls.py.
    re_path(r"^poll/?$", polling.Poll.as_view(), name="mcp-poll"),
    re_path(r"^execute/?$", execute.Execute.as_view(), name="mcp-execute"),
    re_path(r"^submit/?$", polling.Submit.as_view(), name="mcp-submit"),
    re_path(r"^register/?$", register.Servers.as_view(), name="mcp-register"),
    re_path(SERVER + r"/?$", register.Server.as_view(), name="mcp-registered"),
    re_path(r"^servers/(?P<user_id>[^/]{1,64})/?$", standing.Servers.as_view(), name="mcp-servers"),
    re_path(r"^status/?$", standing.Status.as_view(), name="mcp-status"),
    re_path(r"^calls/?$", tool_calls.Calls.as_view(), name="mcp-calls"),
    re_path(CALL + r"/?$", tool_calls.Call.as_view(), name="mcp-call"),
    re_path(r"^approvals/?$", approvals.Approvals.as_view(), name="mcp-approvals"),
    re_path(APPROVAL + r"/?$", approvals.OneApproval.as_view(), name="mcp-approval"),
    re_path(CALL + r"/cancel/?$", tool_calls.CallCancellation.as_view(), name="mcp-cancel"),
]
