"""The REST pages on which people and programs see what was used, and what they may still use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Model
from django.http import StreamingHttpResponse
from django.utils import timezone
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.described import described
from accounts.keeping import RULERS
from accounts.models import ApiKey, Organization
from accounts.principal import USAGE_READ
from accounts.rest import HasScope
from accounts.views import KeyPage
from billing import current, shapes, statements, terms, usage
from billing.allowances import ORGANIZATION
from billing.plans import Limits
from billing.serializers import Asked, Exported, Organized, amounts, asked, by, moment

TAG = "Usage"
SEES = "billing.view_usagerollup"  # with it, staff see everybody's
NOT_YOURS = "You are not a member of it, or of any."

# What has a name besides its id, and which column holds it.
NAMED: dict[str, tuple[type[Model], str]] = {
    "organization": (Organization, "name"),
    "user": (User, "username"),
    "key": (ApiKey, "name"),
}
# The earlier Ops-Center's word for a limit that is none.
UNLIMITED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Whose usage the caller sees. None: everybody's."""

    organization_id: UUID | None
    user_id: int | None


class UsagePage(KeyPage):
    """What the pages about usage share: who may come in, and whose usage they see."""

    permission_classes = [HasScope(USAGE_READ)]

    def sight(self, wanted: UUID | None) -> Sight:
        """Staff sees all, owners and admins their organization's, everybody else their own."""
        if self.is_operator():
            if wanted and not Organization.objects.filter(id=wanted).exists():
                raise ValidationError({"organization": ["There is none with this id."]})
            return Sight(organization_id=wanted, user_id=None)
        mine = self.memberships().order_by("created_at", "id")
        membership = mine.filter(organization=wanted).first() if wanted else mine.first()
        if membership is None:
            # One that does not exist and one of somebody else get the same answer.
            raise ValidationError({"organization": [NOT_YOURS]})
        rules = membership.role in RULERS
        return Sight(
            organization_id=membership.organization_id,
            user_id=None if rules else self.user().pk,
        )

    def user_seen(self, sight: Sight, wanted: int | None) -> int | None:
        """Whose usage is shown of what the caller sees. None: everybody's."""
        if sight.user_id is not None and wanted not in (None, sight.user_id):
            raise PermissionDenied({"user": ["You see only your own usage there."]})
        return wanted if sight.user_id is None else sight.user_id

    def is_operator(self) -> bool:
        """A key of staff is a key: it sees what its place in its organization lets it see."""
        user = self.user()
        return user.is_staff and self.principal() is None and user.has_perm(SEES)


class Usage(UsagePage):
    """Answer a question to the sums."""

    @described("usage", tag=TAG, summary="Sums of usage", query=Asked, gives=shapes.USAGE)
    def get(self, request: Request) -> Response:
        wanted = asked(Asked, request.query_params)
        sight = self.sight(wanted["organization"])
        question = self._question(wanted, sight)
        answer = usage.ask(question)
        names = {
            field: _names(field, answer.groups) for field in question.group_by if field in NAMED
        }
        return Response(
            {
                "from": moment(answer.question.starts_at),
                "to": moment(answer.question.ends_at),
                "group_by": list(question.group_by),
                "organization": sight.organization_id and str(sight.organization_id),
                "user": question.user_id,
                "results": [by(names, row.by) | amounts(row.amounts) for row in answer.groups],
                "totals": amounts(answer.totals),
                "limit": question.limit,
                "has_more": answer.has_more,
            }
        )

    def _question(self, wanted: Mapping[str, Any], sight: Sight) -> usage.Question:
        if "organization" in wanted["group_by"] and not self.is_operator():
            raise PermissionDenied({"group_by": ["Only operators see several organizations."]})
        return usage.Question(
            starts_at=wanted["from"],
            ends_at=wanted["to"],
            group_by=wanted["group_by"],
            organization_id=sight.organization_id,
            user_id=self.user_seen(sight, wanted["user"]),
            model=wanted["model"],
            key=wanted["key"],
            limit=wanted["limit"],
        )


class CurrentUsage(UsagePage):
    """Say where the caller stands with the limits of their plan."""

    @described(
        "usage_current",
        tag=TAG,
        summary="Where the caller stands with the limits of their plan",
        query=Organized,
        gives=shapes.CURRENT,
    )
    def get(self, request: Request) -> Response:
        organization_id, rules = self._place(asked(Organized, request.query_params)["organization"])
        caller, now = self.principal(), timezone.now()
        subject = caller.subject if caller else f"user:{self.user().pk}"
        agreed = terms.read(organization_id)
        state = "suspended" if agreed.suspended else "active"
        own = current.of(organization_id, subject, agreed.limits, now=now)
        requests = own[0]
        return Response(
            {
                "organization": str(organization_id),
                "subject": subject,
                "plan": {"code": agreed.plan, "name": agreed.name},
                "state": state,
                "reason": agreed.reason,
                "limits": _limits(agreed.limits, own),
                "organization_limits": _limits(
                    agreed.cap,
                    current.of(organization_id, ORGANIZATION, agreed.cap, now=now),
                )
                if rules
                else None,
                # As the earlier Ops-Center answered.
                "api_calls_used": requests.used,
                "api_calls_limit": UNLIMITED if requests.limit is None else requests.limit,
                "reset_date": moment(requests.resets_at),
                "subscription": {
                    "tier": agreed.plan,
                    "tier_name": agreed.name,
                    "status": state,
                },
                "user": {"username": self.user().get_username()},
            }
        )

    def _place(self, wanted: UUID | None) -> tuple[UUID, bool]:
        """The organization, and whether the caller sees its caps."""
        mine = self.memberships().order_by("created_at", "id")
        membership = mine.filter(organization=wanted).first() if wanted else mine.first()
        if membership is None:
            raise ValidationError({"organization": [NOT_YOURS]})
        return membership.organization_id, membership.role in RULERS


class Unrendered(DefaultContentNegotiation):
    """Here `format` is no renderer's name: the page writes its answer itself."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[Any, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class UsageExport(UsagePage):
    """Stream the ledger's closed rows."""

    content_negotiation_class = Unrendered

    @described(
        "usage_export",
        tag=TAG,
        summary="Every request as a line of CSV or JSON",
        query=Exported,
        gives=shapes.EXPORT,
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        query = asked(Exported, request.query_params)
        sight = self.sight(query["organization"])
        form = statements.FORMATS[query["format"]]
        wanted = statements.Wanted(
            starts_at=query["from"],
            ends_at=query["to"],
            organization_id=sight.organization_id,
            user_id=self.user_seen(sight, query["user"]),
        )
        name = f"usage-{query['from']:%Y%m%dT%H%M}-{query['to']:%Y%m%dT%H%M}.{query['format']}"
        return StreamingHttpResponse(
            statements.written(wanted, form),
            content_type=form.content_type,
            headers={
                "content-disposition": f'attachment; filename="{name}"',
                "cache-control": "no-store",
                "x-accel-buffering": "no",  # nginx would collect it, and hide where it breaks off
            },
        )


def _names(field: str, groups: Sequence[usage.Group]) -> dict[Any, str]:
    """What the groups' people, keys or organizations are called. Those that are gone are not."""
    model, column = NAMED[field]
    ids = {group.by[field] for group in groups}
    rows = model._default_manager.only(column).in_bulk(list(ids))
    return {pk: getattr(row, column) for pk, row in rows.items()}


def _limits(limits: Limits, found: Sequence[current.Standing]) -> dict[str, Any]:
    counted = {
        each.name: {
            "limit": each.limit,
            "used": each.used,
            "held": each.held,
            "remaining": each.remaining,
            "resets_at": moment(each.resets_at),
        }
        for each in found
    }
    # How many of this minute's are left is in the headers of every answer under /v1.
    return {"requests_per_minute": {"limit": limits.requests_per_minute}, **counted}
