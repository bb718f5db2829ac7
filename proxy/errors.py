"""Our exceptions as Anthropic errors: one table, read at the edge."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

from rest_framework import exceptions as rest

from accounts.auth import CredentialError, ScopeError, TooManyFailuresError
from accounts.reads import DatabaseAwayError
from accounts.tags import TagsError
from billing.ledger import LedgerUnavailableError
from billing.limits import BillingSickError, LimitReachedError, SuspendedError
from proxy import answer, breaker
from proxy.agents import NoAgentError
from proxy.given import BrokenOffError, TakenOverError
from proxy.routing import NoRouteError
from proxy.wire import sse
from proxy.wire.body import BodyError
from proxy.wire.turn import BrokenTurnError, FailedTurnError

# Claude Code and the SDKs obey it: without, a 401 costs the user three minutes of retries.
_FINAL = {"x-should-retry": "false"}


class RefusedError(Exception):
    """A request that the edge itself refuses. The text names the field and goes to the client."""

    def __init__(self, status: int, kind: str, text: str, **headers: str) -> None:
        super().__init__(text)
        self.meaning = Meaning(status, kind, {k.replace("_", "-"): v for k, v in headers.items()})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an exception is to the client: HTTP status, error type, extra headers."""

    status: int
    kind: str
    headers: dict[str, str] = field(default_factory=dict)


_UNEXPECTED = Meaning(500, "api_error")
# Not 503: Claude Code then changes to its fallback model at once, where a 529 has it come back for
# the model that was asked for (docs/decisions/0043-who-finds-no-database-comes-back.md).
_AWAY = Meaning(529, "overloaded_error", {"retry-after": "5"})
MEANING: dict[type[Exception], Meaning] = {
    BodyError: Meaning(400, "invalid_request_error"),
    TagsError: Meaning(400, "invalid_request_error"),
    CredentialError: Meaning(401, "authentication_error", _FINAL),
    TooManyFailuresError: Meaning(429, "rate_limit_error", _FINAL),
    SuspendedError: Meaning(402, "billing_error", _FINAL),
    ScopeError: Meaning(403, "permission_error", _FINAL),
    NoRouteError: Meaning(404, "not_found_error"),
    NoAgentError: Meaning(404, "not_found_error"),
    rest.MethodNotAllowed: Meaning(405, "invalid_request_error"),
    DatabaseAwayError: _AWAY,
    BillingSickError: Meaning(503, "api_error", {"retry-after": "30"}),
    BrokenOffError: Meaning(503, "api_error", _FINAL),
    TakenOverError: Meaning(503, "overloaded_error"),
    LedgerUnavailableError: _AWAY,
    answer.UpstreamError: Meaning(502, "api_error"),
    answer.UpstreamRefusedUsError: Meaning(502, "api_error", _FINAL),
    answer.UpstreamTimeoutError: Meaning(504, "timeout_error"),
    breaker.UnwellError: Meaning(503, "overloaded_error"),
    breaker.FullError: Meaning(529, "overloaded_error"),
    breaker.RestingError: Meaning(429, "rate_limit_error"),
    sse.EventTooLongError: Meaning(502, "api_error"),
    BrokenTurnError: Meaning(502, "api_error"),
}


# The status that belongs to an error an upstream says inside an answer that began with 200.
STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 502,  # it is ours that it does not accept
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def meaning_of(error: BaseException) -> Meaning:
    """How `error` looks from outside."""
    if isinstance(error, RefusedError):
        return error.meaning
    if isinstance(error, LimitReachedError):
        return Meaning(429, error.kind, error.headers)
    if isinstance(error, answer.UpstreamSaidError):
        found = Meaning(STATUS.get(error.kind, 500), error.kind)
    else:
        kinds = type(error).__mro__
        found = next((MEANING[kind] for kind in kinds if kind in MEANING), _UNEXPECTED)
    if isinstance(error, breaker.NotAskedError | TooManyFailuresError):
        wait = {"retry-after": str(math.ceil(error.retry_in_s))}
        return replace(found, headers=found.headers | wait)
    if isinstance(error, answer.UpstreamError) and error.is_final:
        return replace(found, headers=found.headers | _FINAL)
    return found


def words_of(error: BaseException) -> tuple[str, str]:
    """Error type and text of what goes wrong inside an answer that has begun."""
    if isinstance(error, FailedTurnError):
        return error.kind, str(error)
    return kind_of(error), text_of(error)


def is_unexpected(error: BaseException) -> bool:
    """Whether it is a fault of our own, of which whoever is woken needs the traceback."""
    known = isinstance(error, FailedTurnError | answer.UpstreamError)
    return not known and meaning_of(error) == _UNEXPECTED


def kind_of(error: BaseException) -> str:
    """The Anthropic error type of `error`."""
    return meaning_of(error).kind


def text_of(error: BaseException) -> str:
    """What the client may read. The text of an unexpected error stays here."""
    if is_unexpected(error):
        return "The gateway could not finish this request."
    return str(error)


def envelope(kind: str, text: str, request_id: str = "") -> dict[str, Any]:
    """The error body of the Messages API."""
    body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": text}}
    return body | {"request_id": request_id} if request_id else body
