"""The Messages API as part of our OpenAPI description: what it takes at least, and what it gives.

Its fields are Anthropic's, and new ones pass through us unseen: so every object may hold more than
is described here (https://docs.claude.com/en/api/messages has the rest).
"""

from typing import Any

from proxy.wire.body import MODEL_CHARS

Described = dict[str, Any]
TAG = "Messages API"


def described(result: Described, generator: Any, request: Any, public: bool) -> Described:
    """A hook of drf-spectacular's: `result` with the paths under /v1, which no serializer has."""
    result["paths"] |= PATHS
    result["components"]["schemas"] |= SCHEMAS
    return result


def _object(required: str, **properties: Described) -> Described:
    return {"type": "object", "required": required.split(), "properties": properties}


def _ref(name: str) -> Described:
    return {"$ref": f"#/components/schemas/{name}"}


def _is(kind: str, **more: Any) -> Described:
    return {"type": kind, **more}


def _list(of: Described, **more: Any) -> Described:
    return {"type": "array", "items": of, **more}


def _answer(text: str, **content: Described) -> Described:
    kinds = {"json": "application/json", "events": "text/event-stream"}
    return {
        "description": text,
        "content": {kinds[name]: {"schema": schema} for name, schema in content.items()},
    }


_CONTENT = {"oneOf": [_is("string"), _list(_object("type", type=_is("string")), maxItems=20)]}
_ROLE = _is("string", enum=["user", "assistant"])
_MESSAGE = _object("role content", role=_ROLE, content=_CONTENT)
_ASKED: Described = {
    "model": _is("string", minLength=1, maxLength=MODEL_CHARS),
    "messages": _list(_MESSAGE, maxItems=100_000),
    "system": _CONTENT,
    "tools": _list(_object("name", name=_is("string"))),
}

SCHEMAS: Described = {
    "MessagesError": _object(
        "type error",
        type=_is("string", enum=["error"]),
        error=_object("type message", type=_is("string"), message=_is("string")),
        request_id=_is("string"),
    ),
    "CountTokensRequest": _object("model messages", **_ASKED),
    "MessagesRequest": _object(
        "model messages max_tokens",
        **_ASKED,
        max_tokens=_is("integer", minimum=1, maximum=2**31 - 1),
        stream=_is("boolean", default=False),
    ),
    "Message": _object(
        "id type role content model usage",
        id=_is("string"),
        type=_is("string", enum=["message"]),
        role=_is("string", enum=["assistant"]),
        content=_list(_object("type", type=_is("string"))),
        model=_is("string"),
        stop_reason=_is("string", nullable=True),
        usage=_object(
            "input_tokens output_tokens",
            input_tokens=_is("integer", minimum=0),
            output_tokens=_is("integer", minimum=0),
        ),
    ),
    "TokenCount": _object("input_tokens", input_tokens=_is("integer", minimum=0)),
    "Model": _object("id type", id=_is("string"), type=_is("string", enum=["model"])),
    "ModelPage": _object("data has_more", data=_list(_ref("Model")), has_more=_is("boolean")),
    "Health": _object("status", status=_is("string", enum=["healthy", "degraded"])),
}
_STREAM: Described = {}  # events, as the Messages API has them
_FAILED = _answer("Whatever went wrong, in Anthropic's form.", json=_ref("MessagesError"))


def _operation(name: str, text: str, answer: Described, **more: Any) -> Described:
    return {
        "operationId": name,
        "summary": text,
        "tags": [TAG],
        "security": [{"apiKey": []}],
        "responses": {
            "200": answer,
            "401": _answer("No key, or not a good one.", json=_ref("MessagesError")),
            "default": _FAILED,
        },
        **more,
    }


def _body(schema: str) -> Described:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema)}}}


def _in(where: str, name: str, schema: Described) -> Described:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


_MODEL_ID = _in("path", "model_id", _is("string", minLength=1, maxLength=MODEL_CHARS))
_MESSAGES = _body("MessagesRequest")

PATHS: Described = {
    "/v1/messages": {
        "post": _operation(
            "messages_create",
            "Ask a model. With `stream` the answer comes as events.",
            _answer("The answer.", json=_ref("Message"), events=_STREAM),
            requestBody=_MESSAGES,
        )
    },
    "/v1/messages/stream": {
        "post": _operation(
            "messages_stream",
            "The same, always as events.",
            _answer("The answer.", events=_STREAM),
            requestBody=_MESSAGES,
        )
    },
    "/v1/messages/count_tokens": {
        "post": _operation(
            "messages_count_tokens",
            "How many tokens a request has.",
            _answer("The count, or an estimate of it.", json=_ref("TokenCount")),
            requestBody=_body("CountTokensRequest"),
        )
    },
    "/v1/models": {
        "get": _operation(
            "models_list",
            "The models that the caller may ask for.",
            _answer("A page of them.", json=_ref("ModelPage")),
            parameters=[
                _in("query", "limit", _is("integer", minimum=1, maximum=1000, default=20)),
                _in("query", "after_id", _is("string")),
                _in("query", "before_id", _is("string")),
            ],
        )
    },
    "/v1/models/{model_id}": {
        "get": _operation(
            "models_retrieve",
            "One model.",
            _answer("The model.", json=_ref("Model")),
            parameters=[_MODEL_ID],
        )
    },
    "/v1/health": {
        "get": _operation(
            "health",
            "Whether all is there that a request needs; open to all, and a key is checked.",
            _answer("The state.", json=_ref("Health")),
        )
    },
}
