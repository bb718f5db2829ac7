"""The server itself, as a client sees it: here, from outside, with a key, with a question."""

import socket
import ssl
import time
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from accounts import trust
from opscenter.doctor.finding import Check, Finding, Verdict, fails, good, skipped, warns

WITHIN_S = 4.0
DAY_S = 24 * 60 * 60
SOON_DAYS = 14  # who renews by itself does so a month before the end
ANSWER_S = 30.0  # a model may think
HERE_DOCS = "docs/setup.md#it-cannot-connect"
TLS_DOCS = "docs/debian.md#nginx-with-tls"
KEY_DOCS = "docs/setup.md#it-says-401"


def here() -> str:
    """The address on which this installation's server listens, as this machine reaches it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.HOST, settings.HOST)  # noqa: S104  (not listened on)
    return f"http://[{host}]:{settings.PORT}" if ":" in host else f"http://{host}:{settings.PORT}"


def port() -> Finding:
    """Whether our server answers on the port, something else has it, or nobody."""
    address = here()
    try:
        answer = httpx.get(f"{address}/healthz", timeout=WITHIN_S, trust_env=False)
    except httpx.ConnectError:
        text = f"Nothing listens at {address}."
        return fails("server", text, _START, HERE_DOCS)
    except httpx.HTTPError:
        return fails("server", _stranger(address), _OTHER_PORT, HERE_DOCS)
    if answer.status_code == 200 and answer.text == '{"status":"alive"}':
        return good("server", f"It answers at {address}.")
    return fails("server", _stranger(address), _OTHER_PORT, HERE_DOCS)


_START = (
    "Start it: make run, or systemctl start opscenter."
    " If it runs on another port: OPSCENTER_PORT belongs into its settings."
)
_OTHER_PORT = "Set OPSCENTER_PORT to a free one."


def _stranger(address: str) -> str:
    return f"Something else has {address}."


_OTHER_LINES = "Look at the lines that fail."


def health() -> Finding:
    """What /v1/health says."""
    address = here()
    try:
        return _health("health", address, _OTHER_LINES)
    except httpx.ConnectError:
        return skipped("health", f"Nothing listens at {address}.")  # the line above fails for it


def outside() -> Finding:
    """The same by the address that people use."""
    address = settings.EXTERNAL_API_URL
    if address in {here(), f"http://localhost:{settings.PORT}"}:
        return skipped("outside", f"EXTERNAL_API_URL is {address}, as here.")
    way_out = "Look at the proxy, DNS and EXTERNAL_API_URL."
    try:
        found = _health("outside", address, way_out)
        return _lasting(found, address) if found.verdict is Verdict.OK else found
    except httpx.ConnectError as error:  # its text says whether it is the name, TLS or the port
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            text = f"{address}: this host does not trust its certificate: {error}."
            return fails("outside", text, _RENEW, TLS_DOCS)
        return fails("outside", f"{address}: no connection: {error}.", way_out, HERE_DOCS)


_RENEW = "Renew it, or add its authority to those that this host knows."


def _lasting(found: Finding, address: str) -> Finding:
    """The same, and how long the certificate lasts, where it has one."""
    parts = urlsplit(address)
    if parts.scheme != "https" or parts.hostname is None:
        return found
    place = parts.hostname, parts.port or 443
    try:
        with (
            socket.create_connection(place, WITHIN_S) as line,
            trust.context().wrap_socket(line, server_hostname=parts.hostname) as tls,
        ):
            until = str((tls.getpeercert() or {})["notAfter"])
    except (OSError, LookupError):
        return found
    days = (ssl.cert_time_to_seconds(until) - time.time()) / DAY_S
    if days < SOON_DAYS:
        text = f"The certificate of {address} ends in {days:.0f} days."
        return warns("outside", text, "Renew it: nobody gets in with one that is over.", TLS_DOCS)
    return good("outside", f"{found.text[:-1]}; its certificate is good for {days:.0f} days.")


def _health(check: str, address: str, way_out: str) -> Finding:
    """What the address says of itself. Raises httpx.ConnectError where nobody listens."""
    try:
        answer = httpx.get(
            f"{address}/v1/health", timeout=WITHIN_S, verify=trust.context(), trust_env=False
        )
        status = answer.json()["status"]
    except httpx.ConnectError:
        raise
    except httpx.HTTPError as error:
        text = f"{address}/v1/health: {type(error).__name__}."
        return fails(check, text, way_out, HERE_DOCS)
    except (ValueError, LookupError, TypeError):
        text = f"{address}/v1/health does not answer as the gateway does."
        return fails(check, text, way_out, HERE_DOCS)
    if status == "healthy":
        return good(check, f"{address}/v1/health says healthy.")
    return warns(check, f"{address}/v1/health says {status}.", _OTHER_LINES, HERE_DOCS)


def checks(key: str, model: str) -> list[Check]:
    """What needs a key: that it is taken, and a question where `model` is named."""

    def taken() -> Finding:
        return _taken(key)

    def answered() -> Finding:
        return _answered(key, model)

    found = [Check(name="key", look=taken, docs=KEY_DOCS)]
    if model:
        found.append(Check(name="answer", look=answered, docs=HERE_DOCS, within_s=ANSWER_S + 1))
    return found


def _taken(key: str) -> Finding:
    if not key:
        return skipped("key", "None was shown: --key-stdin, or ANTHROPIC_AUTH_TOKEN.")
    if not (key.isascii() and key.isprintable()):
        return fails("key", "It has odd characters.", "Copy it again.", KEY_DOCS)
    try:
        answer = httpx.get(
            f"{here()}/v1/models", headers=_shown(key), timeout=WITHIN_S, trust_env=False
        )
    except httpx.HTTPError:
        return skipped("key", "The server does not answer.")
    if answer.status_code == 200:
        return good("key", "It is taken, and may ask models.")
    text = f"It is refused ({answer.status_code}): {_reason(answer)}"
    return fails("key", text, "Make another in the portal, under Keys.", KEY_DOCS)


def _answered(key: str, model: str) -> Finding:
    if not key:
        text = "A question needs a key."
        return fails("answer", text, "Show one: --key-stdin, or ANTHROPIC_AUTH_TOKEN.", KEY_DOCS)
    body = {
        "model": model,
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "hello"}],
    }
    try:
        answer = httpx.post(
            f"{here()}/v1/messages",
            headers=_shown(key),
            json=body,
            timeout=ANSWER_S,
            trust_env=False,
        )
    except (httpx.HTTPError, UnicodeEncodeError) as error:
        text = f"No answer from {model} ({type(error).__name__})."
        return fails("answer", text, "See the lines server and upstream.", HERE_DOCS)
    if answer.status_code == 200:
        ms = answer.elapsed.total_seconds() * 1000
        return good("answer", f"{model} answered in {ms:.0f} ms.")
    text = f"{model}: {answer.status_code}, {_reason(answer)}"
    return fails("answer", text, f"Ask manage.py explainroute {model}", HERE_DOCS)


def _shown(key: str) -> dict[str, str]:
    return {"x-api-key": key}


def _reason(answer: httpx.Response) -> str:
    try:
        text = str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return "no reason is given."
    return "".join(char for char in text if char.isprintable())[:200]
