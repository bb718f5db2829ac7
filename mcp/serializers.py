"""What the tunnel's pages take and give."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.serializers import Flag, Strict, Text, Whole
from mcp.states import State

NAME = r"^[A-Za-z0-9_.-]+\Z"
ID = r"^[\x21-\x7e]+\Z"  # visible ASCII: it stands in headers and logs too
NESTED_MOST = 64  # arguments and schemas go through parsers of others, some of which recurse
TOOLS_MOST = 512
TIMEOUT_S, TIMEOUT_MOST_S = 30, 600
CALLS_LISTED, CALLS_LISTED_MOST = 50, 200


class Name(serializers.RegexField):
    """A server's or a tool's name."""

    default_error_messages = {"invalid": "Letters, digits and _ . - only."}

    def __init__(self, *, max_length: int = 64, **more: Any) -> None:
        super().__init__(NAME, max_length=max_length, trim_whitespace=False, **more)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Id(serializers.RegexField):
    """An id that the caller made."""

    default_error_messages = {"invalid": "Visible ASCII characters only, no spaces."}

    def __init__(self, **more: Any) -> None:
        super().__init__(ID, max_length=64, trim_whitespace=False, **more)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class JsonObject(serializers.DictField):
    """Any JSON object that is not nested too deeply."""

    default_error_messages = {"deep": f"It nests more than {NESTED_MOST} levels deep."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        if not _is_flat_enough(data):
            self.fail("deep")
        return data


class Asked(Strict):
    """What of a user's servers is shown."""

    tools = serializers.ChoiceField(
        ["names", "full"], default="names", help_text="`full`: with schemas and annotations."
    )
    server = Name(default=None, help_text="Only servers of this name.")


class CallsAsked(Strict):
    """Which calls are listed."""

    state = serializers.ChoiceField([state.value for state in State], default=None)
    limit = serializers.IntegerField(min_value=1, max_value=CALLS_LISTED_MOST, default=CALLS_LISTED)
    before = serializers.UUIDField(
        default=None, help_text="The last id of the page before: what is older than it."
    )


class Execution(Strict):
    """A tool to run on one of the caller's machines."""

    server = Name()
    tool = Name(max_length=128)
    arguments = JsonObject(default=dict)
    timeout_s = Whole(min_value=1, max_value=TIMEOUT_MOST_S, default=TIMEOUT_S)
    wait = Flag(
        default=True, help_text="False: answer 202 at once, and look at `calls/{call_id}` later."
    )
    request_id = Id(default=None, help_text="With `tool_use_id`: asked again, the same call.")
    tool_use_id = Id(default=None)
    organization = serializers.UUIDField(
        default=None, help_text="For signed-in people in several; without it, their oldest."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for one, other in (("request_id", "tool_use_id"), ("tool_use_id", "request_id")):
            if attrs[one] is not None and attrs[other] is None:
                raise serializers.ValidationError({other: [f"It goes with {one}."]})
        return attrs


@extend_schema_field({"oneOf": [{"type": "object"}, {"type": "string"}]})
class DeclaredTool(serializers.Field[Any, Any, Any, Any]):
    """A tool as MCP defines one; or its name alone, as the earlier Ops-Center's clients say it."""

    default_error_messages = {"invalid": "A tool is an object as MCP defines it, or a name."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, str):
            return {"name": data, "inputSchema": {"type": "object"}}
        if not isinstance(data, dict):
            self.fail("invalid")
        found: dict[str, Any] = JsonObject().run_validation(data)
        return found

    def to_representation(self, value: Any) -> Any:
        return value


class Registration(Strict):
    """A server to register. Other clients find it under this name."""

    server_id = Name(help_text="Its name.")
    method = serializers.ChoiceField(
        ["websocket", "polling", "http"],
        default="websocket",
        help_text="`http`: the gateway reaches it itself, at `url`. The others: it is behind a"
        " connector that is or was there.",
    )
    user_id = serializers.JSONField(
        default=None, allow_null=True, help_text="The caller's own, or `me`."
    )
    url = Text(max_length=500, default="", allow_blank=True, help_text="For `http`.")
    authorization = Text(
        max_length=4096,
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="For `http`: a bearer token for the server. Stored encrypted, never shown.",
    )
    tools = serializers.ListField(
        child=DeclaredTool(),
        max_length=TOOLS_MOST,
        default=list,
        help_text="For the others. A server at a URL is asked for its tools.",
    )
    instance = serializers.UUIDField(
        default=None,
        allow_null=True,
        help_text="Which connector; without it, the one that was active last.",
    )

    organization = serializers.UUIDField(
        default=None, help_text="For signed-in people in several; without it, their oldest."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        direct = attrs["method"] == "http"
        if direct and not attrs["url"]:
            raise serializers.ValidationError({"url": ["Where is the server? http needs a URL."]})
        if not direct and attrs["authorization"]:
            text = f"Only method http takes one; with {attrs['method']} the connector knows it."
            raise serializers.ValidationError({"authorization": [text]})
        return attrs


class Removal(Strict):
    """On which machine a server is to be taken away."""

    connector = serializers.UUIDField(
        default=None, help_text="Needed where several machines have a server of this name."
    )


class Decision(Strict):
    """What a person says to a question."""

    approve = Flag()
    digest = serializers.RegexField(
        r"^[0-9a-f]{64}\Z",
        trim_whitespace=False,
        help_text="Of the call that was shown: only that one is meant.",
    )


def _is_flat_enough(value: Any) -> bool:
    """Not recursive: it judges what may be too deep for recursion."""
    level: list[Any] = [value]
    for _ in range(NESTED_MOST):
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, Mapping) else each)
            if isinstance(child, dict | list)
        ]
        if not level:
            return True
    return False
