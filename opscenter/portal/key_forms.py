"""The forms about keys: what is asked for, and what is said about what cannot be."""

from typing import Any

from django import forms

from accounts import keys
from accounts.keeping import Wanted
from accounts.principal import MESSAGES, SCOPES
from opscenter.portal import words

LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("", "It does not expire")]
GRACES = [("0", "At once"), ("1", "In an hour"), ("24", "In a day"), ("168", "In a week")]
NAME_WRONG = {
    "required": "Give it a name, for example that of the computer it is for.",
    "max_length": f"A name has at most {keys.NAME_CHARS} characters.",
    "null_characters_not_allowed": "A name holds no null characters.",
}
UNKNOWN = "Choose one of those that are there."  # what was sent instead is not repeated


class Rotation(forms.Form):
    """When the former secret ends, and which one that is."""

    grace = forms.ChoiceField(
        choices=GRACES, initial="24", error_messages={"invalid_choice": UNKNOWN}
    )


class NewKey(forms.Form):
    """A key as somebody wants to have it."""

    name = forms.CharField(max_length=keys.NAME_CHARS, error_messages=NAME_WRONG)
    scopes = forms.MultipleChoiceField(
        choices=[(name, words.scope(name)) for name in SCOPES],
        error_messages={
            "required": "Choose at least one thing that it may do.",
            "invalid_choice": UNKNOWN,
        },
    )
    days = forms.ChoiceField(
        choices=LIFETIMES, required=False, error_messages={"invalid_choice": UNKNOWN}
    )
    service = forms.BooleanField(required=False)

    def wanted(self) -> Wanted:
        """What was asked for. Only of a form that is valid."""
        asked = self.cleaned_data
        return Wanted(
            name=asked["name"],
            scopes=asked["scopes"],
            days=int(asked["days"]) if asked["days"] else None,
            is_service=asked["service"],
        )

    def ticks(self) -> list[dict[str, Any]]:
        """The scopes with their words, ticked as they were sent."""
        ticked = set(self.data.getlist("scopes")) if self.is_bound else {MESSAGES}  # type: ignore[attr-defined]  # a QueryDict
        return [
            {"value": name, "title": title, "means": means, "is_ticked": name in ticked}
            for name, (title, means) in words.SCOPES.items()
        ]
