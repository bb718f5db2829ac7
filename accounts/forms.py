"""The admin's forms about API keys."""

from typing import Any

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from accounts import tags
from accounts.principal import APPROVE, CALLBACK, MESSAGES, SCOPES

MAY_GIVE = "auth.change_user"


class TagsField(forms.CharField):
    """Tags as people write them: words with commas between."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        try:
            return list(tags.split(super().clean(value) or ""))
        except tags.TagsError as error:
            raise forms.ValidationError(str(error)) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]  # Django itself is not generic
    """What may be changed of a key."""

    tags = TagsField(
        required=False,
        help_text="For requests that bring no x-opscenter-tags; separated by commas.",
    )


class NewKeyForm(KeyForm):
    """What a new key needs; its secret is made by us."""

    acting: Any = None  # who is at the page

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        initial=[MESSAGES, CALLBACK],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        user, organization, end = (data.get(k) for k in ("user", "organization", "expires_at"))
        if user and organization and not organization.memberships.filter(user=user).exists():
            self.add_error("user", f"{user} is not a member of {organization}.")
        if APPROVE in data.get("scopes", ()) and not self._may_decide_for(user):
            self.add_error(
                "scopes",
                f"{APPROVE} decides in its owner's place: only who may change users gives it to"
                " others.",
            )
        if end and end <= timezone.now():
            self.add_error("expires_at", "This moment has passed.")
        return data

    def _may_decide_for(self, owner: Any) -> bool:
        return bool(self.acting) and (owner == self.acting or self.acting.has_perm(MAY_GIVE))
