"""What is told of a local server: to the gateway, and to the person here. Only news is told."""

from collections.abc import Callable
from typing import Any

from opscenter_connector.frames import Announced
from opscenter_connector.happenings import Happening, ServerChanged


class Announcer:
    """One server's state, as it was told last."""

    def __init__(
        self,
        name: str,
        transport: str,
        announce: Callable[[Announced], None],
        told: Callable[[Happening], None],
    ) -> None:
        self.last = Announced(name=name, transport=transport, state="starting")
        self._announce = announce
        self._told = told

    def now(
        self, state: str, *, error: str = "", retry_s: float | None = None, **known: Any
    ) -> bool:
        """Tell it. False where a server that is ready is as it was."""
        announced = Announced(
            name=self.last.name,
            transport=self.last.transport,
            state=state,
            error=error[:500],
            **known,
        )
        if announced == self.last and retry_s is None and state == "ready":
            return False
        self.last = announced
        self._announce(announced)
        self._told(
            ServerChanged(
                server=announced.name,
                transport=announced.transport,
                state=state,
                title=announced.title,
                version=announced.version,
                era=announced.era,
                tools=len(announced.tools),
                error=announced.error,
                retry_s=retry_s,
            )
        )
        return True
