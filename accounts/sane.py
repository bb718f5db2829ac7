"""Admin pages that take nonsense for somebody's mistake, where Django's own would break."""

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from unfold.admin import ModelAdmin, TabularInline

MARKED = "_selected_action"


def is_key(field: "models.Field[Any, Any]", value: str) -> bool:
    """Whether a row could have this as its key."""
    if isinstance(field, models.ForeignKey):
        field = field.target_field
    try:
        field.to_python(value)
    except ValidationError:
        return False
    return "\0" not in value  # PostgreSQL takes none in a query


class Completing(AutocompleteSelect):
    """A field that completes what is typed. What can be no key has no option."""

    def optgroups(self, name: Any, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [one for one in value if is_key(self.field, str(one))], attr)


class _Sane:
    """What both kinds of pages share. The rest is unfold's, which ships no types."""

    admin_site: Any
    get_autocomplete_fields: Any

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **more: Any) -> Any:
        if "widget" not in more and db_field.name in self.get_autocomplete_fields(request):
            more["widget"] = Completing(db_field, self.admin_site, using=more.get("using"))
        return super().formfield_for_foreignkey(db_field, request, **more)  # type: ignore[misc]  # it is mixed in


class SaneInline(_Sane, TabularInline):  # type: ignore[misc]  # unfold ships no types
    """Rows below a form."""


class SaneAdmin(_Sane, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """A table's pages."""

    show_full_result_count = False  # a search need not say of how many

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """An action, on rows that there could be."""
        request.POST = self._with_keys(request.POST)  # type: ignore[assignment]  # a copy, changed
        return super().response_action(request, queryset)

    def _with_keys(self, form: QueryDict) -> QueryDict:
        field, found = self.model._meta.pk, form.copy()
        found.setlist(MARKED, [one for one in form.getlist(MARKED) if is_key(field, one)])
        return found
