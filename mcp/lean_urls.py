"""The paths that carry calls, as the lean handler serves them: no thread waits with a request."""

from django.urls import re_path

from mcp.views import execute, polling

urlpatterns = [
    re_path(r"^api/mcp/execute/?$", execute.ExecuteByKey.as_view()),
    re_path(r"^api/mcp/poll/?$", polling.Poll.as_view()),
    re_path(r"^api/mcp/submit/?$", polling.Submit.as_view()),
]
