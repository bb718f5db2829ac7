"""The form of an upstream, where a credential goes in and never comes out; and a question."""

from typing import Any

from django import forms
from django.contrib import admin
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts import sealed
from accounts.choosing import OrganizationSelect
from accounts.models import Organization
from proxy.models import Route, Upstream
from proxy.validators import CREDENTIAL_CHARS, plain_credential


class UpstreamForm(forms.ModelForm):  # type: ignore[type-arg]  # Django itself is not generic
    """An upstream; its stored credential can be set and forgotten, but not read."""

    credential = forms.CharField(
        required=False,
        max_length=CREDENTIAL_CHARS,
        validators=[plain_credential],
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again. Empty: as it is.",
    )
    forget_credential = forms.BooleanField(
        required=False, widget=UnfoldBooleanWidget, label="Forget the stored credential"
    )

    class Meta:
        model = Upstream
        fields = "__all__"  # noqa: DJ007  (the page names what it shows)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.had: str = self.instance.credential_sealed

    def clean(self) -> dict[str, Any]:
        # The row's own checks come after this one, and see what is to be stored.
        data = super().clean() or {}
        credential = data.get("credential")
        if credential and data.get("credential_variable"):
            self.add_error("credential", "Enter the credential or name a variable, not both.")
        elif credential and data.get("forget_credential"):
            self.add_error("forget_credential", "There is a new credential above: keep one wish.")
        elif credential:
            self._store(credential)
        elif data.get("forget_credential"):
            self.instance.credential_sealed = ""
        return data

    def _store(self, credential: str) -> None:
        try:
            self.instance.store(credential)
        except sealed.SealedError as error:
            self.add_error("credential", str(error))


class RouteFormSet(PaginationInlineFormSet):  # type: ignore[misc]  # unfold ships no types
    """The routes below an upstream."""

    def clean(self) -> None:
        """Find what the database would only refuse: two new routes that are the same."""
        super().clean()
        seen = set()
        for form in self.forms:
            data = getattr(form, "cleaned_data", None)
            if not data or form.errors or data.get("DELETE"):
                continue
            route = (data["pattern"], data["target_model"], data["organization"])
            if route in seen:
                form.add_error("pattern", "This route stands here twice.")
            seen.add(route)


class Question(forms.Form):
    """For which request a route is to be explained."""

    model = forms.CharField(max_length=256, widget=UnfoldAdminTextInputWidget)
    organization = forms.ModelChoiceField(
        Organization.objects.all(),
        required=False,
        widget=OrganizationSelect(Route._meta.get_field("organization"), admin.site),
        help_text="Empty: only what is for all.",
    )
    session = forms.CharField(
        max_length=256,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="A client's session id, which chooses among routes that share.",
    )
