"""What drf-spectacular is told: the title of our OpenAPI description, and what shapes it."""

from typing import Any

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Ops-Center",
    "DESCRIPTION": (
        "The Messages API under `/v1`, in outline, for it is Anthropic's and described there; and"
        " the REST pages of this gateway. Machines connect by a WebSocket,"
        " `GET /api/mcp/ws/{user_id}`; what goes over it, and through `poll` and `submit`, is"
        " described in `docs/tunnel.md`."
    ),
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",  # from here, not from somebody's CDN
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": False, "docExpansion": "list"},
    "PREPROCESSING_HOOKS": ["opscenter.openapi.without_slash"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "opscenter.messages_api.described",
    ],
    "ENUM_NAME_OVERRIDES": {"CallStateEnum": "opscenter.openapi.CALL_STATES"},
}
