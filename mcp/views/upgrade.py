"""A plain request at the path of the WebSocket: what it takes to open one."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

# Also read by whoever did ask for one, through a proxy that has taken the header away.
HOW = (
    "Here a WebSocket is opened, and the request has no `Upgrade: websocket`: connect with"
    " `ops-connector run`, and let every proxy on the way pass that header on."
)


@csrf_exempt  # or whoever posts hears of a token instead
def required(request: HttpRequest, user_id: str) -> JsonResponse:
    """In the shape of the handshake's other refusals."""
    return JsonResponse(
        {"type": "error", "error": {"type": "invalid_request_error", "message": HOW}},
        status=426,
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )
