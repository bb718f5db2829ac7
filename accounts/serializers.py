"""What the account pages take and give."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework import serializers

from accounts import keys, tags
from accounts.models import ApiKey
from accounts.principal import CALLBACK, MESSAGES, SCOPES


class Text(serializers.CharField):
    """A string and nothing that could be turned into one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A whole number: not "30", not 30.0, not true."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """True or false: not "yes", not 1."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Strict(serializers.Serializer[Any]):
    """A body of known fields only: a misspelt one must not be taken for its default."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := data.keys() - self.fields.keys()):
            known = ", ".join(self.fields)
            text = f"There is no such field; the fields are: {known}."
            raise serializers.ValidationError({name: [text] for name in sorted(unknown)})
        return super().to_internal_value(data)


class NewKey(Strict):
    """The body that makes a key."""

    name = Text(max_length=keys.NAME_CHARS)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES),
        allow_empty=False,
        default=[MESSAGES, CALLBACK],
    )
    expires_in_days = Whole(
        min_value=1,
        max_value=keys.DAYS_MOST,
        allow_null=True,
        default=None,
        help_text="Null, or left out, for a key without an end.",
    )
    organization = serializers.UUIDField(
        default=None,
        help_text="For people in several organizations; without it, their oldest.",
    )
    service = Flag(
        default=False,
        help_text="A program's key, with limits of its own. Owners and admins may make them.",
    )
    tags = serializers.ListField(
        child=Text(trim_whitespace=False),
        default=list,
        help_text="For requests that bring no x-opscenter-tags.",
    )

    def validate_tags(self, wanted: list[str]) -> list[str]:
        if len(set(wanted)) < len(wanted):
            raise serializers.ValidationError("Each tag must stand in the list once.")
        try:
            return list(tags.checked(wanted))
        except tags.TagsError as error:
            raise serializers.ValidationError(str(error)) from error


class Rotation(Strict):
    """The body that gives a key a new secret."""

    grace_hours = Whole(
        min_value=0,
        max_value=keys.GRACE_HOURS_MOST,
        default=keys.GRACE_HOURS,
        help_text="How long the former secret still works.",
    )


class Key(serializers.ModelSerializer[ApiKey]):
    """A key as it may be shown at any time. `now` comes in the context."""

    user = serializers.CharField(source="user.get_username")
    status = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "name",
            "organization",
            "user",
            "scopes",
            "is_service",
            "tags",
            "prefix",
            "created_at",
            "expires_at",
            "last_used_at",
            "rotated_at",
            "revoked_at",
            "status",
        ]
        read_only_fields = fields

    def get_status(self, key: ApiKey) -> str:
        now: datetime = self.context["now"]
        return key.status(now=now)


class Keys(serializers.Serializer[Any]):
    """A list of keys."""

    results = Key(many=True)
    limit = serializers.IntegerField()
    has_more = serializers.BooleanField()


class IssuedKey(Key):
    """A key with its plaintext, which no other answer holds."""

    key = serializers.CharField(help_text="The plaintext, shown only now.")

    class Meta(Key.Meta):
        fields = [*Key.Meta.fields, "key"]
        read_only_fields = fields
