"""Several processes with next to nothing to serve, and a parent with little patience.

They are there at once, and missed at once.
"""

import threading

import django
import uvicorn

from opscenter import crew, env, member

env.use_settings()
django.setup()  # a server says goodbye to machines when it stops

STUCK = "/stuck"
HUNG_S = 10  # a start takes one or two, more on a loaded machine
LATE_S = 1.0


async def application(scope: dict[str, object], receive: object, send: object) -> None:
    """Answer 204; be stuck for ever where that is asked for."""
    assert callable(receive) and callable(send)
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    if scope["path"] == STUCK:
        threading.Event().wait()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def serve(port: int) -> None:
    """Until a signal."""
    crew.HUNG_S, member.LATE_S = HUNG_S, LATE_S
    crew.serve(
        uvicorn.Config(
            "tests.members:application",
            port=port,
            workers=2,
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
    )
