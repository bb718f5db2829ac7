"""uvicorn's HTTP connections, which a stop does not close on a request that is on its way.

uvicorn closes at once what is idle, and to it a connection is idle whose first bytes nobody has
read yet. Its client has asked, is not answered, and cannot know whether its request was served.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LINGER_S = 1  # for what was sent before its sender could hear of the stop


class LingeringHttp(HttpToolsProtocol):
    """One connection."""

    def shutdown(self) -> None:
        """Close once nothing has come for a moment; the server tells whoever asks to go."""
        self.timeout_keep_alive = LINGER_S
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                LINGER_S, self.timeout_keep_alive_handler
            )
