"""What operators change, as lines of the audit trail. No line holds a secret."""

from typing import Any

from django.db.models import Model

from accounts import audit
from accounts.models import Organization

CREATED = "created"
CHANGED = "changed"
DELETED = "deleted"

Values = dict[str, Any]

# A hash can be guessed at and an added header may be a secret; the others are pages of text.
_NOT_TOLD = frozenset({"headers", "tls_ca", "instructions", "password"})


def subject(row: Model) -> str:
    """A row as the subject of a line."""
    return f"{row._meta.model_name}:{row.pk}"


def before(row: Model) -> Values:
    """The row as it is stored now, empty where it is new. Ask before you save."""
    stored = type(row)._default_manager.filter(pk=row.pk).first() if row.pk else None
    return _values(stored) if stored else {}


def saved(row: Model, was: Values, actor: str) -> bool:
    """Record what saving `row` changed. False where that is nothing."""
    now = _values(row)
    if not was:
        told = {name: value for name, value in now.items() if value not in ("", None, {}, [])}
        _record(CREATED, row, actor, told)
        return True
    changed = {name: [was[name], now[name]] for name in now if was[name] != now[name]}
    if changed:
        told = {name: CHANGED if name in _NOT_TOLD else pair for name, pair in changed.items()}
        _record(CHANGED, row, actor, {"name": str(row), "changed": told})
    return bool(changed)


def save(row: Model, actor: str) -> bool:
    """Save `row` and record it, in the caller's transaction. False where nothing changed."""
    was = before(row)
    row.save()
    return saved(row, was, actor)


def deleted(row: Model, actor: str) -> None:
    """Record the end of a row. Call it before, while the row still has its id."""
    _record(DELETED, row, actor, {"name": str(row)})


def _values(row: Model) -> Values:
    """What an operator may edit, as plain values. A stored credential is not among it."""
    fields = [field for field in row._meta.concrete_fields if field.editable]
    return {
        field.attname: _plain(getattr(row, field.attname))
        for field in fields
        if not field.primary_key
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | dict | list | None) else str(value)


def _record(action: str, row: Model, actor: str, details: Values) -> None:
    told = {name: CHANGED if name in _NOT_TOLD else value for name, value in details.items()}
    organization: Organization | None = getattr(row, "organization", None)
    audit.record(f"{row._meta.model_name}.{action}", subject(row), actor, organization, told)
