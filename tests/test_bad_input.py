"""Bad input over a bare socket: a clear answer in the API's shape, soon, and one line of log."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.models import UsageRecord
from tests import gateway as gateways
from tests.gateway import Gateway
from tests.upstream import Upstream

ANSWER_S = 15  # more than the gateway allows a body to be silent
GOOD = b'{"model":"m","max_tokens":1,"messages":[]}'
SECRET = b"the-secret-in-the-body"


def send(gateway: Gateway, *parts: bytes) -> tuple[int, dict[str, object], dict[str, str]]:
    """Write the parts, read one answer: status, JSON body, headers."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=ANSWER_S) as line:
        try:
            for part in parts:
                line.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may answer and close before it has read everything
        return read_answer(line)


def read_answer(line: socket.socket) -> tuple[int, dict[str, object], dict[str, str]]:
    raw = b""
    while b"\r\n\r\n" not in raw and (chunk := line.recv(65536)):
        raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {
        name.lower(): value for name, _, value in (text.partition(": ") for text in lines[1:])
    }
    while len(body) < int(headers["content-length"]):
        body += line.recv(65536)
    return int(lines[0].split()[1]), json.loads(body), headers


def request(gateway: Gateway, *more: str, body: bytes = GOOD, length: int | None = None) -> bytes:
    lines = [
        "POST /v1/messages HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {gateway.key}",
        f"Content-Length: {len(body) if length is None else length}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


JSON = "Content-Type: application/json"
DEEP = b'{"model":"m","max_tokens":1,"messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"not json " + SECRET, "not valid JSON"),
        (b'{"model":"m","max_tokens":1,"messages":[]', "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"{}", "model: Field required"),
        (b'{"model":"m","max_tokens":1}', "messages: Field required"),
        (b'{"model":"m","messages":[]}', "max_tokens: Field required"),
        (b'{"model":7,"max_tokens":1,"messages":[]}', "model: "),
        (b'{"model":"m","max_tokens":"1","messages":[]}', "max_tokens: "),
        (b'{"model":"m","max_tokens":1,"messages":{}}', "messages: "),
        (b'{"model":"m","max_tokens":1,"messages":[],"stream":1}', "stream: "),
        (b'{"model":"m","model":"n","max_tokens":1,"messages":[]}', "twice"),
        (b'{"model":"m\\u0000","max_tokens":1,"messages":[]}', "model: "),
        (b'{"model":"m","max_tokens":1,"messages":["\x00"]}', "not valid JSON"),
        (b'{"model":"m","max_tokens":1,"messages":["\xc3\x28"]}', "UTF-8"),
        (b'{"model":"m","max_tokens":NaN,"messages":[]}', "not valid JSON"),
        (b'{"model":"m","max_tokens":' + b"9" * 5000 + b',"messages":[]}', "max_tokens: "),
        (DEEP, "nested too deeply"),
        (b'\xef\xbb\xbf{"model":"m"}', "not valid JSON"),
    ],
)
def test_it_names_what_is_wrong_with_the_body(
    gateway: Gateway, upstream: Upstream, body: bytes, says: str
) -> None:
    status, answer, headers = send(gateway, request(gateway, JSON, body=body))
    assert (status, answer["type"]) == (400, "error")
    assert answer["error"]["type"] == "invalid_request_error"  # type: ignore[index]
    assert says in answer["error"]["message"]  # type: ignore[index]
    assert SECRET.decode() not in json.dumps(answer)
    assert answer["request_id"] == headers["request-id"]
    assert upstream.requests == []
    assert not UsageRecord.objects.exists()


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        (["Content-Type: text/plain"], 415, "content-type: "),
        (["Content-Type: application/x-www-form-urlencoded"], 415, "content-type: "),
        ([JSON, "Content-Encoding: gzip"], 415, "content-encoding: gzip"),
        ([JSON, "Content-Encoding: br"], 415, "content-encoding: br"),
        ([JSON, "X-Long: " + "x" * 65536], 431, "headers are larger"),
        ([JSON, *(f"X-{n}: 1" for n in range(1000))], 431, "more than 200 headers"),
    ],
)
def test_it_names_what_is_wrong_with_the_headers(
    gateway: Gateway, upstream: Upstream, more: list[str], status: int, says: str
) -> None:
    got, answer, _ = send(gateway, request(gateway, *more))
    assert (got, answer["error"]["type"]) == (status, "invalid_request_error")  # type: ignore[index]
    assert says in answer["error"]["message"]  # type: ignore[index]
    assert upstream.requests == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", None]
)
def test_it_takes_json_however_it_is_called(gateway: Gateway, content_type: str | None) -> None:
    more = [f"Content-Type: {content_type}"] if content_type else []
    assert send(gateway, request(gateway, *more))[0] == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_answers_a_wrong_method_in_the_apis_shape(gateway: Gateway, method: str) -> None:
    raw = request(gateway, JSON).replace(b"POST", method.encode(), 1)
    status, answer, _ = send(gateway, raw)
    assert (status, answer["error"]["type"]) == (405, "invalid_request_error")  # type: ignore[index]
    assert method in answer["error"]["message"]  # type: ignore[index]


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/complete",
        "/v1/v1",
        "/v1/messages/batches",
        "/v1/%00",
        "/v1/%0A",
        "/v1/%ff",
    ],
)
def test_it_answers_an_unknown_path_in_the_apis_shape(gateway: Gateway, path: str) -> None:
    raw = request(gateway, JSON).replace(b"/v1/messages", path.encode("latin-1"), 1)
    status, answer, headers = send(gateway, raw)
    assert (status, answer["error"]["type"]) == (404, "not_found_error")  # type: ignore[index]
    assert headers["request-id"].startswith("req_")


def test_it_refuses_33_megabytes_in_words_that_arrive(gateway: Gateway) -> None:
    megabyte = b"x" * 2**20
    head = request(gateway, JSON, body=b"", length=33 * 2**20)
    status, answer, _ = send(gateway, head, *[megabyte] * 33)
    assert (status, answer["error"]["type"]) == (413, "request_too_large")  # type: ignore[index]


def test_it_refuses_a_terabyte_without_reading_it(gateway: Gateway) -> None:
    assert send(gateway, request(gateway, JSON, body=b"", length=10**12))[0] == 413


def test_it_refuses_endless_chunks_without_keeping_them(gateway: Gateway) -> None:
    head = request(gateway, JSON, body=b"").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    before_mb = gateway.resident_mb
    assert send(gateway, head, *[chunk] * 100)[0] == 413
    assert gateway.resident_mb - before_mb < 80  # the limit is 32, and twice that is under way


def test_it_takes_a_body_of_31_megabytes(gateway: Gateway, upstream: Upstream) -> None:
    text = b"x" * (31 * 2**20)
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"' + text + b'"}]}'
    assert send(gateway, request(gateway, JSON, body=body))[0] == 200
    assert upstream.requests[0].body == body


@pytest.fixture
def impatient(gateway: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that gives a body half a second of silence and two in all."""
    log = tmp_path / "gateway.log"
    limits = {"OPSCENTER_BODY_IDLE_S": "0.5", "OPSCENTER_BODY_TOTAL_S": "2"}
    with gateways.running(log, **limits) as (url, process):
        yield Gateway(url=url, key=gateway.key, process=process, log=log)


def test_it_does_not_wait_for_the_other_half_of_a_body(impatient: Gateway) -> None:
    half = request(impatient, JSON, body=GOOD[:10], length=len(GOOD))
    status, answer, headers = send(impatient, half)
    assert (status, answer["error"]["type"]) == (408, "timeout_error")  # type: ignore[index]
    assert headers["connection"] == "close"


def test_it_does_not_wait_for_a_body_that_drips(impatient: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=ANSWER_S) as line:
        line.sendall(request(impatient, JSON, body=b"{", length=1000))
        line.settimeout(0.2)
        for _ in range(30):
            try:
                line.sendall(b" ")
                line.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                continue
        line.settimeout(ANSWER_S)
        assert read_answer(line)[0] == 408


def test_it_asks_a_stranger_with_a_large_body_for_a_key(gateway: Gateway) -> None:
    megabyte = b"x" * 2**20
    head = request(gateway, JSON, body=b"", length=20 * 2**20)
    stranger = head.replace(gateway.key.encode(), b"sk-uc-000000000000-" + b"a" * 43)
    status, answer, _ = send(gateway, stranger, *[megabyte] * 20)
    assert (status, answer["error"]["type"]) == (401, "authentication_error")  # type: ignore[index]


def test_it_bounds_a_body_outside_v1_too(gateway: Gateway) -> None:
    head = request(gateway, JSON, body=b"", length=20 * 2**20).replace(
        b"/v1/messages", b"/api/hello"
    )
    assert send(gateway, head, *[b"x" * 2**20] * 20)[0] == 413


def test_it_refuses_a_million_keys_before_it_looks_at_them(gateway: Gateway) -> None:
    body = b'{"model":"m",' + b",".join(b'"%d":1' % n for n in range(10**6)) + b"}"
    status, answer, _ = send(gateway, request(gateway, JSON, body=body))
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")  # type: ignore[index]
    assert "more than 1000 keys" in answer["error"]["message"]  # type: ignore[index]


def test_it_logs_one_line_for_a_refusal_without_body_or_key(gateway: Gateway) -> None:
    before = len(gateway.log.read_text().splitlines())
    send(gateway, request(gateway, JSON, body=b'{"secret":"' + SECRET + b'"}'))
    new = gateway.log.read_text().splitlines()[before:]
    assert len(new) == 1
    assert "400" in new[0]
    assert SECRET.decode() not in new[0]
    assert gateway.key not in new[0]
    assert gateway.key.rpartition("-")[2] not in gateway.log.read_text()


def test_it_goes_on_when_a_client_leaves_in_the_middle_of_its_body(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=ANSWER_S) as line:
        line.sendall(request(gateway, JSON, body=GOOD[:5], length=len(GOOD)))
    assert send(gateway, request(gateway, JSON))[0] == 200
