"""Why a local server is not there, as a person is told."""

from urllib.parse import urlsplit

from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT
from pydantic import ValidationError

from opscenter_connector import unreached
from opscenter_connector.plain import clean
from opscenter_connector.settings import ServerSpec

MOST = 200  # characters of a server's own words
IS_IT_ONE = "is it an MCP server?"
SEE_MORE = "--log-level debug shows its standard error"


def explained(error: BaseException | None, spec: ServerSpec, last_words: str, *, met: bool) -> str:
    """Why it ended, by `error` or by itself. It has been `met` if it answered `initialize`."""
    error = None if error is None else _first(error)
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is not there: is it installed, and in PATH?"
    if spec.url:
        return _not_reached(error, spec.url)
    said = _said(error) if met else _not_met(error)
    if last_words:
        return f"{said} ({last_words})"
    return said if met else f"{said} ({SEE_MORE})"


def _not_reached(error: BaseException | None, url: str) -> str:
    # Without its path and its query: there may be a key in them, and the gateway is told this.
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if error is not None and (words := unreached.plainly(error, where)) is not None:
        return f"{words}: start it, or correct its url"
    return f"{_said(error)}; it was asked at {where}: is its url right?"


def _not_met(error: BaseException | None) -> str:
    if _is_end(error):
        return f"it ended, and answered no `initialize`: {IS_IT_ONE}"
    if _is_late(error):
        return f"it did not answer `initialize` in time: {IS_IT_ONE}"
    if isinstance(error, MCPError):
        return f"it answered `initialize` with {clean(error.message, MOST)!r}: {IS_IT_ONE}"
    return _said(error)


def _said(error: BaseException | None) -> str:
    if error is None or _is_end(error):
        return "it ended"
    if _is_late(error):
        return "it did not answer in time"
    if isinstance(error, MCPError):
        return error.message
    if isinstance(error, ValidationError):
        return _wrong(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _wrong(error: ValidationError) -> str:
    """The first mistake, without what the server wrote there."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return clean(f"it answered what is no MCP: {place}: {first['msg']}", MOST)


def _is_end(error: BaseException | None) -> bool:
    return isinstance(error, MCPError) and error.code == CONNECTION_CLOSED


def _is_late(error: BaseException | None) -> bool:
    is_told = isinstance(error, MCPError) and error.code == REQUEST_TIMEOUT
    return is_told or isinstance(error, TimeoutError)


def _first(error: BaseException) -> BaseException:
    while (inner := getattr(error, "exceptions", None)) and isinstance(inner, tuple):
        error = inner[0]
    return error
