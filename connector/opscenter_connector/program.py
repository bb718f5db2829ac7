"""The connector as one coroutine: local servers, journal, and the session with the gateway."""

import asyncio
from collections.abc import Callable

from opscenter_connector.endings import Ending
from opscenter_connector.happenings import Happening
from opscenter_connector.settings import Settings


async def run(settings: Settings, told: Callable[[Happening], None], stop: asyncio.Event) -> Ending:
    """Work until `stop` is set, or until there is no point in going on.

    `told` is called on the event loop and must return at once.
    """
    raise NotImplementedError
