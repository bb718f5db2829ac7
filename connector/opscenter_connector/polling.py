"""A session by polling: the same frames, in the bodies of HTTP requests."""

import json
import logging
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx

from opscenter_connector import __version__, addresses, frames, keys, unreached
from opscenter_connector.outbox import Outbox
from opscenter_connector.sessions import (
    OPEN_TIMEOUT_S,
    SessionEndError,
    Take,
    read,
    refusal,
    until_one_ends,
)
from opscenter_connector.settings import Settings

log = logging.getLogger(__name__)

POLL_S = 25.0  # as long as most proxies let a request wait
LEAST_POLL_S = 5.0
EARLY_S = 2.0  # a request that ends sooner was not cut for having waited
ANSWER_S = 15.0  # beyond the wait
BODY_S = 60.0  # from the first byte of an answer to its last: minutes only for what drips
CONNECT_S = 10.0
CLOSE_TIMEOUT_S = 3.0
MAX_FRAMES = 64
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
MAX_BODY_BYTES = 2 * 1024 * 1024 - 4096  # without what is around the frames
MAX_ANSWER_BYTES = 8 * 1024 * 1024  # more than four calls with the longest arguments


@dataclass(slots=True)
class Patience:
    """How long a request may wait here; less where proxies cut it."""

    wait_s: float = POLL_S

    def shortened(self) -> bool:
        if self.wait_s <= LEAST_POLL_S:
            return False
        self.wait_s = max(LEAST_POLL_S, self.wait_s / 2)
        return True


class Wire:
    """The two doors, and the session that is spoken in."""

    def __init__(self, settings: Settings, key: keys.Key, client: httpx.AsyncClient) -> None:
        self._doors = addresses.of(settings.api_url, settings.user_id)
        self._key = key
        self._client = client
        self.instance = ""
        self.epoch: int | None = None

    async def poll(self, texts: list[str], wait_s: float) -> list[frames.FromGateway]:
        return await self._post(self._doors.poll, texts, wait_s)

    async def submit(self, texts: list[str]) -> list[frames.FromGateway]:
        return await self._post(self._doors.submit, texts, None)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _post(
        self, url: str, texts: list[str], wait_s: float | None
    ) -> list[frames.FromGateway]:
        head: dict[str, Any] = {"instance": self.instance}
        if self.epoch is not None:
            head["epoch"] = self.epoch
        # The frames are JSON already, and large; they are not to be read and written once more.
        body = json.dumps(head)[:-1] + ',"frames":[' + ",".join(texts) + "]"
        body += "}" if wait_s is None else f',"wait_ms":{int(wait_s * 1000)}}}'
        headers = HEADERS | {"Authorization": await keys.shown(self._key)}
        try:
            async with self._client.stream(
                "POST",
                url,
                content=body.encode(),
                headers=headers,
                timeout=httpx.Timeout(CONNECT_S, read=(wait_s or 0) + ANSWER_S, write=ANSWER_S),
            ) as answer:
                said = await _body(answer)
        except httpx.ConnectError as error:
            raise SessionEndError(unreached.words(error, urlsplit(url).netloc)) from error
        except httpx.HTTPError as error:
            raise SessionEndError(str(error) or type(error).__name__) from error
        if answer.status_code != httpx.codes.OK:
            retry_after = answer.headers.get("Retry-After")
            raise refusal(answer.status_code, said, retry_after, upgrade=False)
        return self._read(said)

    def _read(self, body: bytes) -> list[frames.FromGateway]:
        try:
            said = json.loads(body)
            self.epoch = int(said["epoch"])
            told = [read(one) for one in said["frames"]]
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise SessionEndError("an answer that is not the gateway's") from error
        return [frame for frame in told if frame is not None]


class PollingSession:
    """An open one."""

    transport = "polling"

    def __init__(
        self,
        wire: Wire,
        welcome: frames.Welcome,
        first: list[frames.FromGateway],
        patience: Patience,
    ) -> None:
        self._wire = wire
        self._first = first
        self._patience = patience
        self.welcome = welcome

    async def work(self, take: Take, outbox: Outbox) -> None:
        """Both ways until it ends: always with SessionEndError."""
        try:
            _taken(self._first, take)
            await until_one_ends(self._poll(take, outbox), self._submit(take, outbox))
        finally:
            with anyio.CancelScope(shield=True):
                await self._wire.aclose()

    async def close(self, reason: str) -> None:
        """Say bye, if that can still be said."""
        with anyio.move_on_after(CLOSE_TIMEOUT_S):
            try:
                await self._wire.submit([frames.encode(frames.Bye(reason=reason))])
            except SessionEndError:
                log.debug("there was nobody to say bye to")

    async def _poll(self, take: Take, outbox: Outbox) -> None:
        while True:
            await outbox.room()
            began_s = time.monotonic()
            try:
                _taken(await self._wire.poll([], self._patience.wait_s), take)
            except SessionEndError as end:
                waited_s = time.monotonic() - began_s
                if end.code or waited_s < EARLY_S or not self._patience.shortened():
                    raise
                log.info("polls are cut here; from now on they wait %g s", self._patience.wait_s)

    async def _submit(self, take: Take, outbox: Outbox) -> None:
        while True:
            texts = await outbox.take(most=MAX_FRAMES, most_bytes=MAX_BODY_BYTES)
            _taken(await self._wire.submit(texts), take)


class PollingOpener:
    """Opens them."""

    def __init__(self, settings: Settings, key: keys.Key | None = None) -> None:
        self._settings = settings
        self._key = key or keys.of(settings)
        self._patience = Patience()
        self._verify = addresses.trust(settings.ca_file)

    async def __call__(self, hello: frames.Hello) -> PollingSession:
        try:
            wire = Wire(self._settings, self._key, self._client())
        except (ImportError, ValueError) as error:  # of what the environment says of proxies
            raise SessionEndError(f"{error}") from error
        wire.instance = hello.instance
        try:
            with anyio.fail_after(2 * OPEN_TIMEOUT_S):
                welcome, *rest = await wire.poll([frames.encode(hello)], 0)
            if not isinstance(welcome, frames.Welcome):
                raise SessionEndError("an answer without a welcome", greeted=True)
            return PollingSession(wire, welcome, rest, self._patience)
        except (TimeoutError, ValueError) as error:
            await wire.aclose()
            raise SessionEndError("no welcome in time", greeted=True) from error
        except BaseException as error:
            await wire.aclose()
            if isinstance(error, SessionEndError) and error.code is None:
                error.greeted = True
            raise

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers={"User-Agent": f"opscenter-connector/{__version__}"},
            verify=self._verify,
            follow_redirects=False,  # the key is for the address that the user gave
        )


async def _body(answer: httpx.Response) -> bytes:
    """All of it; an answer that does not end is nobody's. Not unpacked: a little may be much."""
    body = bytearray()
    try:
        with anyio.fail_after(BODY_S):
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise SessionEndError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    except TimeoutError as error:
        raise SessionEndError(f"an answer that has not ended after {BODY_S:g} s") from error
    return bytes(body)


def _taken(said: list[frames.FromGateway], take: Take) -> None:
    for frame in said:
        if isinstance(frame, frames.Bye):
            raise SessionEndError(frame.reason or "the gateway said bye", code=frame.code)
        take(frame)
