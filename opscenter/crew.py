"""The server's processes: one in the foreground, or several that share a socket under a parent.

The parent is uvicorn's: it starts anew whoever dies or hangs, passes SIGTERM on, and on SIGHUP
replaces one after the other, each once its successor serves.

Nothing here is imported with Django set up: a child begins with this module, and with asgi.py.
"""

import socket
import sys

import uvicorn
from uvicorn.supervisors import multiprocess

HUNG_S = 30  # without an answer of its own thread; a start on a loaded machine takes ten


class Server(uvicorn.Server):
    """uvicorn, which tells load balancers and machines that it stops before it cuts them off."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        from mcp import beside
        from opscenter import readiness

        readiness.start_draining()
        await beside.say_goodbye()
        await super().shutdown(sockets)


class Member(multiprocess.Process):
    """One of several, with the same server as one alone."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config)
        return self._server


def serve(config: uvicorn.Config) -> None:
    """Until SIGINT or SIGTERM; `config.workers` says how many."""
    if config.workers == 1:
        server = Server(config)
        server.run()
        if not server.started:
            sys.exit(3)  # as uvicorn's own command says that it could not start
        return
    # uvicorn names the class of its children by this and offers no other place to say so.
    multiprocess.Process = Member  # type: ignore[misc]
    multiprocess.Multiprocess(config, sockets=[config.bind_socket()]).run()
