"""Money on the pages: typed and read in dollars, stored as whole nano-dollars."""

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.sane import SaneAdmin
from billing import money

Column = Callable[[Any], str]


class ScaledField(forms.Field):
    """A decimal that is stored as a whole number of its smallest parts."""

    def __init__(self, *, places: int, most: int, **more: Any) -> None:
        self.places, self.most = places, most
        attrs = {"inputmode": "decimal", "autocomplete": "off"}
        super().__init__(widget=UnfoldAdminTextInputWidget(attrs=attrs), **more)

    def prepare_value(self, value: Any) -> Any:
        """A stored number as it is typed; what was typed already stays as it was."""
        return money.decimal(value, self.places) if isinstance(value, int) else value

    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values:
            return None
        if isinstance(value, int):
            return value
        try:
            amount = money.scaled(str(value), self.places)
        except money.AmountError as error:
            raise ValidationError(str(error)) from error
        if amount > self.most:  # the model's own check would speak of nano-dollars
            raise ValidationError(f"At most {money.decimal(self.most, self.places)}.")
        return amount


class DollarsAdmin(SaneAdmin):
    """A page whose `_nano` fields are typed in dollars, and `_ppm` ones as plain numbers."""

    dollars_help = ""  # what an amount here means; the models speak of what is stored
    compressed_fields = False  # labels above their fields: several stand in a row
    scaled_help: dict[str, str] = {}  # the same for single fields

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **more: Any) -> Any:
        is_money = db_field.name.endswith("_nano")
        if not is_money and not db_field.name.endswith("_ppm"):
            return super().formfield_for_dbfield(db_field, request, **more)
        return ScaledField(
            places=money.NANO_PLACES if is_money else money.PPM_PLACES,
            most=_most(db_field),
            label=_label(db_field.name).capitalize() + (" ($)" if is_money else ""),
            required=not db_field.blank,
            help_text=self.scaled_help.get(db_field.name, self.dollars_help),
            initial=db_field.get_default(),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Whoever may only look reads dollars as well."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        names = [field.name for field in self.model._meta.concrete_fields]
        columns = {name: dollars(name) for name in names if name.endswith("_nano")}
        columns |= {name: multiplier(name) for name in names if name.endswith("_ppm")}
        return [
            (name, {**options, "fields": _in_dollars(options["fields"], columns)})
            for name, options in fieldsets
        ]


def dollars(
    name: str, description: str = "", *, write: Callable[[int], str] = money.exact, none: str = "-"
) -> Column:
    """A column or a read-only field that shows a stored amount in dollars."""

    @admin.display(description=description or _label(name), ordering=name)
    def column(row: Any) -> str:
        amount = getattr(row, name)
        return none if amount is None else write(amount)

    column.__name__ = _stem(name)  # not the field's, whose help speaks of what is stored
    return column


def multiplier(name: str) -> Column:
    """The same for a number that is stored in millionths."""

    @admin.display(description=_label(name), ordering=name)
    def column(row: Any) -> str:
        return money.decimal(getattr(row, name), money.PPM_PLACES)

    column.__name__ = _stem(name)  # not the field's, whose help speaks of what is stored
    return column


def _most(db_field: Any) -> int:
    """The most that the model takes."""
    bounds = [one for one in db_field.validators if isinstance(one, MaxValueValidator)]
    return min(int(one.limit_value) for one in bounds)


def _stem(name: str) -> str:
    return name.removesuffix("_nano").removesuffix("_ppm")


def _label(name: str) -> str:
    return _stem(name).replace("_", " ")


def _in_dollars(fields: Sequence[Any], columns: dict[str, Column]) -> list[Any]:
    """The same fields, each amount by the column that shows it."""
    return [
        _in_dollars(field, columns)
        if isinstance(field, list | tuple)
        else columns.get(field, field)
        for field in fields
    ]
