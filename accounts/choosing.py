"""The field in which an operator looks for an organization, in forms of no model."""

from typing import Any
from uuid import UUID

from django.contrib.admin.widgets import AutocompleteSelect


class OrganizationSelect(AutocompleteSelect):
    """Shows no choice for an id that is none; Django's own fails at it."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [one for one in value if _is_uuid(one)], attr)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
