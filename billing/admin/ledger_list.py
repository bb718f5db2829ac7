"""What the list of the ledger is asked for, and what it says of whole requests."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest
from unfold.views import ChangeList

from billing.models import UsageRecord

GONE = "gone"  # people may go; what they used stays
RECENT = 1000  # rows whose upstreams and agents are offered as a filter
_MEANT = {"requests": Q(parent=None, corrects=None), "steps": Q(parent__isnull=False)}


class RecentFilter(admin.SimpleListFilter):
    """The names that were there lately: a ledger of millions is not searched for all of them."""

    parameter_name: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        recent = UsageRecord.objects.order_by("-admitted_at")
        names = recent.values_list(self.parameter_name, flat=True)[:RECENT]
        return [(name, name) for name in sorted({*names} - {""})]

    def queryset(self, request: HttpRequest, rows: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        name = self.value()
        return rows.filter(**{self.parameter_name: name}) if name else rows


class UpstreamFilter(RecentFilter):
    title = parameter_name = "upstream"


class AgentFilter(RecentFilter):
    title = parameter_name = "agent"


class PartFilter(admin.SimpleListFilter):
    """Requests as clients made them, or what else was asked for their sake."""

    title = parameter_name = "rows"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("requests", "Requests alone"), ("steps", "Further steps of requests")]

    def queryset(self, request: HttpRequest, rows: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        return rows.filter(_MEANT.get(self.value() or "", Q()))


class RequestList(ChangeList):  # type: ignore[misc]  # unfold ships no types
    """A page of the ledger, with what was asked further for each request on it, and by whom."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: list[Any] = list(self.result_list)
        shown = [row.pk for row in self.result_list if row.parent_id is None]
        steps = UsageRecord.objects.filter(parent__in=shown).order_by().values_list("parent_id")
        sums = {pk: told for pk, *told in steps.annotate(Count("pk"), Sum("cost_nano"))}
        people = User.objects.filter(pk__in={row.user_id for row in self.result_list})
        names = dict(people.values_list("pk", "username"))
        for row in self.result_list:
            row.further_steps, row.further_nano = sums.get(row.pk, (0, 0))
            row.username = names.get(row.user_id, GONE)
