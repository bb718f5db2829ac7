"""Plain questions to the gateway, for `doctor` and `status`."""

import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx

from opscenter_connector import addresses, keys
from opscenter_connector.plain import clean
from opscenter_connector.settings import Settings

ANSWER_S = 10.0  # the gateway answers these in milliseconds
MAX_BODY_BYTES = 8 * 1024 * 1024  # 200 servers of 512 names; a stranger's answer may have no end
WORDS = 120  # of a strange answer; enough to recognize it


def base(settings: Settings) -> str:
    """The gateway's address for plain HTTP, without /api."""
    parts = urlsplit(settings.api_url)
    scheme = "https" if parts.scheme in {"https", "wss"} else "http"
    return f"{scheme}://{parts.netloc}{parts.path.removesuffix('/api')}"


async def bearer(settings: Settings) -> dict[str, str]:
    """The header that says who asks. Raises CredentialError, AwayError."""
    return {"authorization": f"Bearer {await keys.of(settings).fresh()}"}


async def ask(
    settings: Settings,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    content: str | None = None,
) -> httpx.Response:
    """The answer; redirects are not followed, for the key would go wherever they lead."""
    body = b""
    said = {"accept": "application/json", "content-type": "application/json"} | (headers or {})
    async with (
        httpx.AsyncClient(verify=addresses.trust(settings.ca_file), timeout=ANSWER_S) as client,
        client.stream(method, f"{base(settings)}{path}", headers=said, content=content) as response,
    ):
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                break
    kept = [(k, v) for k, v in response.headers.items() if k != "content-encoding"]
    return httpx.Response(response.status_code, headers=kept, content=body)


def fields(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in `response`, or an empty one."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def reason(response: httpx.Response) -> str:
    """The gateway's own words, or the beginning of whatever else answered."""
    said = fields(response)
    error = said.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    words = inner or said.get("detail") or said.get("reason") or response.text
    return clean(str(words), WORDS) or response.reason_phrase


def tls_error(error: BaseException) -> ssl.SSLError | None:
    """What is wrong with TLS, if that is what lies under `error`."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
