"""A scripted MCP server over HTTP that checks what it is sent, in whichever era a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mcp_types import CallToolResult, jsonrpc_message_adapter

MODERN, LEGACY = "2026-07-28", "2025-11-25"
META = "io.modelcontextprotocol/"
STOP_S = 20  # no test waits longer for what a server must see
Json = dict[str, Any]


def tool(name: str, **more: Any) -> Json:
    """A tool's definition."""
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def said(text: str, **more: Any) -> Json:
    """A tool's result."""
    result = {"content": [{"type": "text", "text": text}], **more}
    CallToolResult.model_validate(result)
    return result


@dataclass
class Heard:
    """One HTTP request, as it came."""

    verb: str
    headers: dict[str, str]
    body: Json | None

    @property
    def method(self) -> str:
        """Of JSON-RPC; of HTTP where there is no body."""
        return str((self.body or {}).get("method", self.verb))


class McpHttp(ThreadingHTTPServer):
    """It speaks one era at a time and knows one session."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        self.era = MODERN
        self.refuses_discover = 400  # how a legacy server meets the modern era; 200: politely
        self.credential = ""
        self.tools: list[Json] = [tool("echo"), tool("other")]
        self.page, self.streams = 100, False  # tools in one list, and whether it comes as events
        self.session = "session-1"
        self.greeted = False  # whether `initialized` came in this session
        self.does: dict[str, Callable[[Talk, Json], None]] = {"echo": echo}
        self.heard: list[Heard] = []
        self.faults: list[str] = []
        self.names: list[str | None] = []  # that clients gave for TLS
        self.left = threading.Event()  # a client went away while it was answered
        self.told = threading.Condition()
        super().__init__(("127.0.0.1", 0), Talk)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/mcp"

    def methods(self) -> list[str]:
        """What was asked so far, in order."""
        return [each.method for each in self.heard]

    def last(self, method: str) -> Heard:
        """The last request of this method."""
        return [each for each in self.heard if each.method == method][-1]

    def wait_for(self, method: str) -> Heard:
        """The same, once it is there."""
        with self.told:
            assert self.told.wait_for(lambda: method in self.methods(), STOP_S), self.methods()
        return self.last(method)

    def forget_session(self) -> None:
        """Begin anew, as after a restart."""
        self.session, self.greeted = f"{self.session}+", False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no fault of the server's."""


class Talk(BaseHTTPRequestHandler):
    """One request, checked and answered."""

    protocol_version = "HTTP/1.1"
    server: McpHttp
    id: int  # of the request
    token: Any  # of its progress

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = json.loads(raw)
        self._heard(body)
        if not self._is_known():
            return
        jsonrpc_message_adapter.validate_json(raw, by_name=False)
        if "method" not in body:
            self.plain(202)
            return
        params = body.get("params", {})
        self.id, self.token = body.get("id"), params.get("_meta", {}).get("progressToken")
        (self._modern if self.server.era == MODERN else self._legacy)(body["method"], params)

    def do_GET(self) -> None:
        self._heard(None)
        resume = self.server.does.get("resume")
        if resume is None:
            self.plain(405)
        else:
            resume(self, {"after": self.headers["last-event-id"]})

    def do_DELETE(self) -> None:
        self._heard(None)
        self._check("mcp-session-id", self.server.session)
        self.plain(200)

    def answer(self, result: Json, status: int = 200) -> None:
        """Answer the request in JSON."""
        self.json({"jsonrpc": "2.0", "id": self.id, "result": self._full(result)}, status)

    def fail(self, code: int, status: int = 200, **more: Any) -> None:
        """Answer with an error of JSON-RPC."""
        error = {"code": code, "message": f"error {code}", **more}
        self.json({"jsonrpc": "2.0", "id": self.id, "error": error}, status)

    def json(self, value: Any, status: int = 200) -> None:
        """Any JSON."""
        self.plain(status, json.dumps(value).encode(), "application/json")

    def plain(self, status: int, body: bytes = b"", kind: str = "text/plain", **more: str) -> None:
        """Any answer."""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self) -> None:
        """Begin a stream of events; it ends with the connection."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("connection", "close")
        self.end_headers()

    def event(self, message: Json | None, **fields: object) -> None:
        """One event of the stream."""
        data = {"data": "" if message is None else json.dumps(message)}
        lines = [f"{name}: {value}" for name, value in (fields | data).items()]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def answer_event(self, result: Json) -> None:
        """The answer, as an event."""
        self.event({"jsonrpc": "2.0", "id": self.id, "result": self._full(result)})

    def progress(self, done: float, **more: Any) -> None:
        """A notification of progress."""
        told = {"progressToken": self.token, "progress": done, **more}
        self.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})

    def hang(self) -> None:
        """Say nothing until the client leaves."""
        self.connection.settimeout(STOP_S)
        self.close_connection = True
        with suppress(ConnectionError):  # it may leave without reading all that it was sent
            if self.connection.recv(1):
                return
        self.server.left.set()

    def cut(self) -> None:
        """Break the connection."""
        self.close_connection = True
        self.connection.close()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _full(self, result: Json) -> Json:
        return {"resultType": "complete", **result} if self.server.era == MODERN else result

    def _heard(self, body: Json | None) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.told:
            self.server.heard.append(Heard(self.command, headers, body))
            self.server.told.notify_all()

    def _is_known(self) -> bool:
        wanted = self.server.credential
        if wanted and self.headers["authorization"] != f"Bearer {wanted}":
            self.plain(401, b"who are you?", **{"www-authenticate": "Bearer"})
            return False
        return True

    def _check(self, header: str, wanted: str | None) -> None:
        found = self.headers[header]
        if found != wanted:
            self.server.faults.append(f"{header} is {found!r}, not {wanted!r}")

    def _modern(self, method: str, params: Json) -> None:
        if method in {"initialize", "notifications/initialized"}:
            self.server.faults.append(f"{method} came in the modern era")
        meta = params.get("_meta", {})
        self._check("mcp-protocol-version", meta.get(f"{META}protocolVersion"))
        self._check("mcp-protocol-version", MODERN)
        self._check("mcp-method", method)
        self._check("mcp-session-id", None)
        self._check("accept", "application/json, text/event-stream")
        self._check("content-type", "application/json")
        if not isinstance(meta.get(f"{META}clientCapabilities"), dict):
            self.server.faults.append("no capabilities")
        if method == "server/discover":
            known = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}}
            about = {f"{META}serverInfo": {"name": "scripted", "version": "1.2"}}
            self.answer({**known, "ttlMs": 0, "cacheScope": "public", "_meta": about})
        else:
            self._answer(method, params)

    def _legacy(self, method: str, params: Json) -> None:
        if method == "server/discover":
            if self.server.refuses_discover == 200:
                self.fail(-32601)
            else:
                self.plain(self.server.refuses_discover, b"Bad Request")
        elif method == "initialize":
            self._check("mcp-session-id", None)
            self._check("mcp-protocol-version", None)
            self.server.greeted = False
            about = {"name": "scripted", "title": "Scripted", "version": "1.2"}
            known = {"protocolVersion": LEGACY, "capabilities": {}, "serverInfo": about}
            message = {"jsonrpc": "2.0", "id": self.id, "result": known}
            session = {"mcp-session-id": self.server.session} if self.server.session else {}
            self.plain(200, json.dumps(message).encode(), "application/json", **session)
        elif self.server.session and self.headers["mcp-session-id"] != self.server.session:
            self.plain(404, b"no such session")
        else:
            self._check("mcp-protocol-version", LEGACY)
            self._check("mcp-method", None)
            self._after_greeting(method, params)

    def _after_greeting(self, method: str, params: Json) -> None:
        if method == "notifications/initialized":
            self.server.greeted = True
        elif not self.server.greeted:
            self.server.faults.append(f"{method} came before `initialized`")
        if method.startswith("notifications/"):
            self.plain(202)
        else:
            self._answer(method, params)

    def _answer(self, method: str, params: Json) -> None:
        if method == "tools/list":
            start = int(params.get("cursor", "0"))
            page: Json = {"tools": self.server.tools[start : start + self.server.page]}
            if start + self.server.page < len(self.server.tools):
                page["nextCursor"] = str(start + self.server.page)
            if self.server.era == MODERN:
                page |= {"ttlMs": 60_000, "cacheScope": "private"}
            if self.server.streams:
                self.stream()
                self.answer_event(page)
                self.close_connection = True
            else:
                self.answer(page)
        elif method == "tools/call" and params["name"] in self.server.does:
            if self.server.era == MODERN:
                self._check("mcp-name", params["name"])
            self.server.does[params["name"]](self, params)
        else:
            self.fail(-32601, 404 if self.server.era == MODERN else 200)


def echo(talk: Talk, params: Json) -> None:
    """The tool that says what it was told."""
    talk.answer(said(json.dumps(params.get("arguments", {}))))


@pytest.fixture
def mcp_http() -> Iterator[McpHttp]:
    """A scripted MCP server; the test fails if it was sent anything wrong."""
    with McpHttp() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join(STOP_S)
    assert server.faults == []
