"""A client of one MCP server over HTTP, in whichever era the server lives."""

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass

from msgspec import UNSET, Raw

from mcp import remote_wire as wire
from mcp.exchange import Answer, AnsweredError, Exchange, RemoteError, Told
from mcp.remote_wire import Json, NotMcpError

MAX_PAGES = 32  # of one list; a cursor that never ends is no list
MAX_TOOLS = 512  # as for a machine's server
MAX_SESSION_CHARS = 1024  # it goes back with each request
PARTING_S = 2.0  # to tell a legacy server that a call or a session is over; nobody waits longer

# A server of the modern era would not answer like this; one of the legacy may.
_NO_VERDICT = frozenset({401, 403, 429, 502, 503, 504})
_STALE = frozenset({400, 404})  # how servers say that they do not know a session any more

NOBODY_TO_ASK: Json = {
    "content": [
        {
            "type": "text",
            "text": "The tool asked for input from a person, and here nobody can be asked.",
        }
    ],
    "isError": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What a server said about itself."""

    version: str  # of MCP
    session: str | None = None
    title: str = ""
    release: str = ""

    @property
    def is_modern(self) -> bool:
        """Whether it has no sessions."""
        return self.version == wire.MODERN


class Remote:
    """One server. Any number of requests may be under way at once."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._ids = itertools.count(1)
        self._peer: Peer | None = None
        self._greeting = asyncio.Lock()

    async def peer(self) -> Peer:
        """Who it is; it is asked once. Raises RemoteError and AnsweredError."""
        async with self._greeting:
            if self._peer is None:
                self._peer = await self._discovered() or await self._initialized()
            return self._peer

    async def ask(
        self, method: str, params: Json, *, schema: Json | None = None, told: Told | None = None
    ) -> Raw:
        """The result of one request. `schema` is the called tool's, `told` hears of progress.

        Raises AnsweredError where the server says no, and RemoteError where it says nothing or
        nothing sensible. Cancelling it cancels the request at the server.
        """
        for is_last in (False, True):
            peer = await self.peer()
            try:
                return await self._asked(peer, method, params, schema, told)
            except (RemoteError, AnsweredError) as error:
                self._forget(peer, error)
                if is_last or peer.session is None or error.status not in _STALE:
                    raise
        raise AssertionError("the last try returns or raises")

    async def tools(self) -> list[Json]:
        """Its tools, as it defines them. Raises RemoteError and AnsweredError."""
        found: list[Json] = []
        cursor: object = None
        for _ in range(MAX_PAGES):
            raw = await self.ask("tools/list", {} if cursor is None else {"cursor": cursor})
            page = _sensible(raw)
            tools = page.get("tools")
            listed = tools if isinstance(tools, list) else []
            found += [each for each in listed if isinstance(each, dict)]
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str) or not cursor or len(found) >= MAX_TOOLS:
                break
        is_modern = (await self.peer()).is_modern
        return [tool for tool in found if not is_modern or _is_callable(tool)][:MAX_TOOLS]

    async def close(self) -> None:
        """End the session, where there is one, and the connections."""
        peer, self._peer = self._peer, None
        if peer is not None and peer.session is not None:
            with suppress(RemoteError, AnsweredError, TimeoutError):
                async with asyncio.timeout(PARTING_S):
                    await self._exchange.end(_legacy_headers(peer))
        await self._exchange.close()

    async def _asked(
        self, peer: Peer, method: str, params: Json, schema: Json | None, told: Told | None
    ) -> Raw:
        number = next(self._ids)
        token = number if told is not None else None
        full = wire.with_meta(params, modern=peer.is_modern, progress_token=token)
        body = wire.request(number, method, full)
        if peer.is_modern:
            try:
                headers = wire.modern_headers(method, params, schema)
            except NotMcpError as error:
                raise RemoteError(f"The tool cannot be called: {error}") from error
            answer = await self._exchange.once(body, number, headers, told)
            return _complete(_result(answer), method)
        headers = _legacy_headers(peer)
        try:
            answer = await self._exchange.resumed(body, number, headers, told)
        except asyncio.CancelledError:
            await self._call_off(number, headers)
            raise
        return _result(answer)

    async def _call_off(self, number: int, headers: dict[str, str]) -> None:
        """A legacy server goes on when the stream ends; it must be told."""
        params = {"requestId": number, "reason": "The caller gave up."}
        body = wire.request(None, "notifications/cancelled", params)
        with suppress(RemoteError, AnsweredError, TimeoutError):
            async with asyncio.timeout(PARTING_S):
                await self._exchange.tell(body, headers)

    async def _discovered(self) -> Peer | None:
        """The server as one of the modern era; None if it is none."""
        number = next(self._ids)
        params = wire.with_meta({}, modern=True, progress_token=None)
        body = wire.request(number, "server/discover", params)
        headers = wire.modern_headers("server/discover", {}, None)
        try:
            found = _sensible(_result(await self._exchange.once(body, number, headers, None)))
        except AnsweredError as error:
            supported = _supported(error)
            if supported and not set(supported) & set(wire.LEGACY):
                raise RemoteError(
                    f"It speaks other versions of MCP than {wire.MODERN} and {wire.LEGACY[0]}."
                ) from error
            return None
        except RemoteError as error:
            if error.status is None or error.status < 400 or error.status in _NO_VERDICT:
                raise
            return None
        versions = found.get("supportedVersions")
        if not isinstance(versions, list) or wire.MODERN not in versions:
            return None
        meta = found.get("_meta")
        info = meta.get("io.modelcontextprotocol/serverInfo") if isinstance(meta, dict) else None
        return Peer(version=wire.MODERN, **_described(info))

    async def _initialized(self) -> Peer:
        number = next(self._ids)
        params = {"protocolVersion": wire.LEGACY[0], "capabilities": {}, "clientInfo": wire.CLIENT}
        try:
            answer = await self._exchange.once(
                wire.request(number, "initialize", params), number, {}, None
            )
        except (RemoteError, AnsweredError) as error:
            if error.status in {400, 404, 405, 406}:
                raise RemoteError("It does not speak MCP over Streamable HTTP there.") from error
            raise
        found = _sensible(_result(answer))
        version = found.get("protocolVersion")
        if version not in wire.LEGACY:
            raise RemoteError("It answered with a version of MCP that is not known here.")
        session = answer.session
        if session is not None and not _is_visible(session):
            raise RemoteError("Its session id holds what no header may hold.")
        peer = Peer(version=version, session=session, **_described(found.get("serverInfo")))
        body = wire.request(None, "notifications/initialized", None)
        await self._exchange.tell(body, _legacy_headers(peer))
        return peer

    def _forget(self, peer: Peer, error: RemoteError | AnsweredError) -> None:
        """Ask anew who it is, where it may have become another. Only who asked last may say so."""
        is_other = error.status in _STALE if peer.session else isinstance(error, RemoteError)
        if is_other and self._peer is peer:
            self._peer = None


def _legacy_headers(peer: Peer) -> dict[str, str]:
    headers = {"mcp-protocol-version": peer.version}
    return headers | ({"mcp-session-id": peer.session} if peer.session is not None else {})


def _result(answer: Answer) -> Raw:
    message = answer.message
    if message.error is not UNSET:
        raise AnsweredError(message.error, answer.status)
    if message.result is UNSET:
        raise RemoteError("It answered with neither a result nor an error.", may_have_run=True)
    return message.result


def _complete(raw: Raw, method: str) -> Raw:
    """A modern result, once it says that it is one."""
    kind = _sensible(raw).get("resultType", "complete")
    if kind == "complete":
        return raw
    if kind == "input_required" and method == "tools/call":
        return Raw(wire.encoded(NOBODY_TO_ASK))
    raise RemoteError("It answered with what is no complete result.", may_have_run=True)


def _sensible(raw: Raw) -> Json:
    try:
        return wire.result_of(raw)
    except NotMcpError as error:
        raise RemoteError(str(error), may_have_run=True) from error


def _supported(error: AnsweredError) -> list[str]:
    data = error.failure.data
    named = data.get("supported") if isinstance(data, dict) else None
    is_told = error.failure.code == wire.UNSUPPORTED_VERSION and isinstance(named, list)
    return [each for each in named or [] if isinstance(each, str)] if is_told else []


def _is_callable(tool: Json) -> bool:
    schema = tool.get("inputSchema")
    try:
        wire.mirrored(schema if isinstance(schema, dict) else {})
    except NotMcpError:
        return False
    return True


def _is_visible(session: str) -> bool:
    return len(session) <= MAX_SESSION_CHARS and all("!" <= char <= "~" for char in session)


def _described(info: object) -> dict[str, str]:
    known = info if isinstance(info, dict) else {}
    title = known.get("title") or known.get("name")
    release = known.get("version")
    return {
        "title": title[:200] if isinstance(title, str) else "",
        "release": release[:100] if isinstance(release, str) else "",
    }
