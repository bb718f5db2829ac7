"""The database's clock: the only one that leases and deadlines are measured by."""

from datetime import timedelta
from typing import Any

from django.db.models import DateTimeField, Func
from django.db.models.expressions import Combinable


class _Now(Func):
    """The moment at which the row is looked at.

    Not Django's `Now`: on PostgreSQL that is when the statement began, before it waited for a lock.
    """

    template = "CLOCK_TIMESTAMP()"
    arity = 0
    output_field = DateTimeField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        template = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW')"
        return self.as_sql(compiler, connection, template=template, **more)


def now() -> Combinable:
    """Now, as an expression for a query."""
    return _Now()


def after(seconds: float) -> Combinable:
    """So many seconds from now; before now if negative."""
    return now() + timedelta(seconds=seconds)
