"""One message to an MCP server by POST, and its answer: JSON, or the end of a stream of events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

import httpx
from msgspec import UNSET

from mcp import remote_wire as wire
from mcp.remote_wire import Events, Failure, Json, Message, NotMcpError
from mcp.targets import BadTargetError

MAX_STREAM_BYTES = 16 * 1024 * 1024  # all events of one answer; progress is a hundred bytes each
MAX_ASIDE = 32  # requests of the server's in one stream; each is answered that nobody is here
REPLY_S = 5.0  # to take one such answer
RESUMES = 8  # of one broken stream; a legacy server that breaks it more often has lost it
RESUME_AFTER_S = (0.1, 5.0)  # at least and at most, whatever the server says

Told = Callable[[Json], None]
Sending = tuple[str, dict[str, str], bytes | None]  # verb, headers, body

_LOST = "The stream ended without an answer."


class RemoteError(Exception):
    """It did not answer sensibly. The text may be shown to its user, and ends in a full stop."""

    def __init__(self, text: str, *, may_have_run: bool = False, status: int | None = None) -> None:
        super().__init__(text)
        self.may_have_run = may_have_run  # the request may have had its effects
        self.status = status  # of HTTP


class TooLargeError(RemoteError):
    """It answers with more than anybody takes."""


class AnsweredError(Exception):
    """It answered with an error of JSON-RPC."""

    def __init__(self, failure: Failure, status: int) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a request, and the session that came with it."""

    message: Message
    status: int
    session: str | None


@dataclass(slots=True)
class _Place:
    """Where a legacy stream can be taken up again."""

    event_id: str | None = None
    after_s: float = RESUME_AFTER_S[0]

    def note(self, event: wire.Event) -> None:
        if event.id is not None:
            usable = event.id.isascii() and event.id.isprintable() and len(event.id) < 1024
            self.event_id = event.id if event.id and usable else None
        if event.retry_ms is not None:
            least, most = RESUME_AFTER_S
            self.after_s = min(max(event.retry_ms / 1000, least), most)


class Exchange:
    """What goes to one URL with one credential."""

    def __init__(self, http: httpx.AsyncClient, url: str, credential: str) -> None:
        self._http = http
        self._url = url
        self._shown = {"authorization": f"Bearer {credential}"} if credential else {}

    async def once(
        self, body: bytes, number: int, headers: dict[str, str], told: Told | None
    ) -> Answer:
        """The answer to request `number`. A stream that breaks has lost it."""
        return _there(await self._read(("POST", headers, body), number, told, None))

    async def resumed(
        self, body: bytes, number: int, headers: dict[str, str], told: Told | None
    ) -> Answer:
        """The same from a legacy server, which may end a stream before its answer."""
        place = _Place()
        found = await self._begun(("POST", headers, body), number, told, place)
        for _ in range(RESUMES):
            if found is not None or place.event_id is None:
                break
            await asyncio.sleep(place.after_s)
            again = ("GET", headers | {"last-event-id": place.event_id}, None)
            try:
                found = await self._begun(again, number, told, place)
            except (RemoteError, AnsweredError) as error:  # of the GET; the request was taken
                raise RemoteError(_LOST, may_have_run=True) from error
        return _there(found)

    async def _begun(
        self, sending: Sending, number: int, told: Told | None, place: _Place
    ) -> Answer | None:
        """What came; None where the stream broke and can be taken up again."""
        try:
            return await self._read(sending, number, told, place)
        except TooLargeError:
            raise
        except RemoteError as error:
            if error.status is None and error.may_have_run and place.event_id is not None:
                return None
            raise

    async def tell(self, body: bytes, headers: dict[str, str]) -> None:
        """A message that has no answer. Raises RemoteError and AnsweredError."""
        async with self._response("POST", headers, body) as response:
            await _check(response)

    async def end(self, headers: dict[str, str]) -> None:
        """End the session. A server may not want that."""
        async with self._response("DELETE", headers, None):
            pass

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _read(
        self,
        sending: Sending,
        number: int,
        told: Told | None,
        place: _Place | None,
    ) -> Answer | None:
        verb, headers, body = sending
        asides = 0
        async with self._response(verb, headers, body) as response:
            await _check(response)
            async with aclosing(_messages(response, place)) as messages:
                async for message in messages:
                    if message.is_answer and message.id in (number, None):
                        session = response.headers.get("mcp-session-id")
                        status = response.status_code
                        return Answer(message=message, status=status, session=session)
                    if message.method is UNSET:
                        continue  # the answer to something else
                    if message.id is None:
                        _hear(message, number, told)
                    elif place is not None and asides < MAX_ASIDE:
                        asides += 1
                        await self._decline(message.id, message.method, headers)
        return None

    async def _decline(self, to: int | str, method: str, headers: dict[str, str]) -> None:
        with suppress(RemoteError, AnsweredError, TimeoutError):
            async with asyncio.timeout(REPLY_S):
                await self.tell(wire.reply(to, method), headers)

    @asynccontextmanager
    async def _response(
        self, verb: str, headers: dict[str, str], body: bytes | None
    ) -> AsyncIterator[httpx.Response]:
        """The head of what comes back, to be read within. Raises RemoteError."""
        sent = {"accept": wire.ACCEPT, **self._shown, **headers}
        if body is not None:
            sent["content-type"] = "application/json"
        try:
            async with self._http.stream(verb, self._url, headers=sent, content=body) as response:
                yield response
        except (BadTargetError, NotMcpError) as error:
            is_ours = isinstance(error, BadTargetError)
            raise RemoteError(f"{error}", may_have_run=not is_ours) from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise RemoteError("It takes no connection.") from error
        except (httpx.LocalProtocolError, UnicodeError) as error:
            raise RemoteError("What should be asked cannot be sent over HTTP.") from error
        except (httpx.HTTPError, OSError) as error:
            raise RemoteError("The connection broke.", may_have_run=True) from error


def _there(answer: Answer | None) -> Answer:
    if answer is None:
        raise RemoteError(_LOST, may_have_run=True)
    return answer


async def _check(response: httpx.Response) -> None:
    """Raise AnsweredError or RemoteError unless it is a success."""
    status = response.status_code
    if response.is_success:
        return
    if 300 <= status < 400:
        raise RemoteError("It redirects. Redirects are not followed.", status=status)
    if status in {401, 403}:
        raise RemoteError("It wants another credential.", status=status)
    try:
        found = wire.message(await _whole(response))
    except (NotMcpError, TooLargeError):
        found = None
    if found is not None and found.error is not UNSET:
        raise AnsweredError(found.error, status)
    raise RemoteError(
        f"It answered with the status {status}.",
        # These two say that nothing was begun; of other faults within a server nobody knows.
        may_have_run=status >= 500 and status not in {501, 503},
        status=status,
    )


async def _messages(
    response: httpx.Response, place: _Place | None
) -> AsyncGenerator[Message, None]:
    """What the body holds: one message, or those of a stream."""
    if response.status_code in {202, 204}:
        return
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise NotMcpError("It compresses its answer though it was asked not to.")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        async with aclosing(_events(response)) as events:
            async for event in events:
                if place is not None:
                    place.note(event)
                if event.data:
                    yield wire.message(event.data)
    elif kind == "application/json":
        yield wire.message(await _whole(response))
    else:
        raise NotMcpError("It answered with neither JSON nor events.")


async def _events(response: httpx.Response) -> AsyncGenerator[wire.Event, None]:
    reader, size = Events(), 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        for event in reader.feed(chunk):
            yield event
        if size > MAX_STREAM_BYTES or reader.is_full:
            raise TooLargeError("It answers with more than anybody takes.", may_have_run=True)


async def _whole(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > wire.MAX_MESSAGE_BYTES:
            raise TooLargeError("It answers with more than anybody takes.", may_have_run=True)
    return bytes(body)


def _hear(message: Message, number: int, told: Told | None) -> None:
    if told is None or message.method != "notifications/progress":
        return
    params = message.params
    if params is not UNSET and params.get("progressToken") == number:
        told(params)
