"""What the OpenAPI page says of a REST view, in few words."""

from collections.abc import Callable, Mapping
from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers

# What every page may answer. 400 names the fields that are wrong.
REFUSALS = {
    400: "Something is wrong with what was sent; the fields are named.",
    401: "No API key, or one that opens nothing.",
    403: "The key lacks the scope, or its owner may not do this.",
    404: "There is no such thing, or none for you to see.",
    406: "It does not speak this version.",
    408: "There is no such session, or it has ended.",
    409: "It does not fit what is there.",
    413: "The body is too large.",
    415: "The body is no JSON by its content type.",
    429: "Too often, or too much at once; `retry-after` says how long to wait.",
    503: "The gateway cannot do it now.",
}
ALWAYS = (401, 403, 429, 503)
WITH_BODY = (400, 413, 415)

Decorator = Callable[[Any], Any]


def shape(name: str, /, **fields: Any) -> serializers.Serializer[Any]:
    """An answer that no serializer writes."""
    return inline_serializer(name, fields)


def described(
    name: str,
    *,
    tag: str,
    summary: str,
    gives: Any = None,
    status: int = 200,
    body: Any = None,
    query: Any = None,
    refuses: tuple[int, ...] = (),
) -> Decorator:
    """A view's method: what it takes, what it gives and how it may refuse."""
    answers: dict[Any, Any] = (
        dict(gives)  # several, by status and media type
        if isinstance(gives, Mapping)
        else {status: gives or OpenApiResponse(description="Done.")}
    )
    taken = WITH_BODY if body else (400,) if query else ()
    for code in sorted({*ALWAYS, *refuses, *taken}):
        answers[code] = OpenApiResponse(description=REFUSALS[code])
    return extend_schema(
        operation_id=name,
        tags=[tag],
        summary=summary,
        request=body,
        parameters=[query] if query else None,
        responses=answers,
    )
