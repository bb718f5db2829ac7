"""Who decides about calls on a page or over the API, and what they are shown."""

from collections.abc import Iterable
from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db.models import Q

from accounts import audit
from accounts.models import Membership
from accounts.principal import Principal
from mcp import clock, conditions, consent
from mcp.calls import Decided, Decider
from mcp.models import Approval
from mcp.states import Answer, Source

RIGHT = "mcp.change_approval"  # with it, staff decide for everybody in their own organizations
SHOWN_MOST = 100  # questions at once; who has more decides those first
SHOWN_BYTES = 4 * 1024 * 1024  # of arguments at once: they are never cut, so there are fewer


def decider_of(user: User, caller: Principal | None, source: Source, place: str) -> Decider:
    """Somebody with a key, or signed in. A key of staff is a key like any other."""
    if caller is not None:
        organizations = [caller.organization_id]
        ruled: list[UUID] = []
    else:
        mine = Membership.objects.filter(user=user).values_list("organization_id", flat=True)
        organizations = list(mine)
        ruled = organizations if user.is_staff and user.has_perm(RIGHT) else []
    return Decider(
        actor=audit.caller(caller) if caller else audit.user(user.pk),
        name=user.get_username(),
        source=source,
        place=place[:100],
        user_id=user.pk,
        organizations=organizations,
        ruled=ruled,
    )


def pending(decider: Decider) -> tuple[list[Approval], bool]:
    """The open questions that they may answer, the oldest first, and whether there are more."""
    rows = Approval.objects.filter(
        conditions.may_decide(decider), state=Answer.PENDING, expires_at__gt=clock.now()
    )
    rows = rows.select_related("call", "connector", "user").order_by("created_at", "id")
    found = list(_that_fit(rows[: SHOWN_MOST + 1].iterator()))
    return found[:SHOWN_MOST], len(found) > SHOWN_MOST or rows[len(found) :].exists()


def _that_fit(rows: Iterable[Approval]) -> Iterable[Approval]:
    size = 0
    for row in rows:
        size += len(row.call.params)
        if size > SHOWN_BYTES and size > len(row.call.params):  # one at least
            return
        yield row


def one(decider: Decider, approval_id: UUID) -> Approval | None:
    """A question that they may answer, or might have."""
    rows = Approval.objects.filter(conditions.may_decide(decider), id=approval_id)
    return rows.select_related("call", "connector", "user").first()


def decide(decider: Decider, approval_id: UUID, *, digest: str, approve: bool) -> Decided:
    """As `consent.decide`."""
    wanted = Q(id=approval_id)
    return async_to_sync(consent.decide)(decider, wanted, digest=digest, approve=approve)
