"""Many reservations at once come to what they would one after the other."""

import random
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries

from accounts.models import Organization
from billing import allowances, together
from billing.allowances import Bound, Denied, Granted, Reservation
from billing.models import Allowance

pytestmark = pytest.mark.django_db

Outcomes = list[Granted | Denied]
Rows = list[Any]


def bound_of(organization: Organization, who: str, **most: int | None) -> Bound:
    name = f"{organization.id.hex}/{who}/2026-11-25"
    return Bound(id=name, organization_id=organization.id, subject=who, period="2026-11-25", **most)


def played(wanted: list[Reservation], *, at_once: bool) -> tuple[Outcomes, Rows]:
    """The outcomes and the table afterwards; then as if it had not been."""
    with transaction.atomic(), connection.cursor() as cursor:
        if at_once:
            outcomes = together.reserve(cursor, wanted)
        else:
            outcomes = [allowances.reserve(cursor, one) for one in wanted]
        rows = list(Allowance.objects.order_by("id").values())
        transaction.set_rollback(True)
    return outcomes, rows


def by_chance(organization: Organization, seed: int) -> list[Reservation]:
    """Some reservations, of which mostly the last have no room; and what is used already."""
    dice = random.Random(seed)  # noqa: S311  # no secret
    overdraft = dice.random() < 0.4

    def most(upper: int) -> int | None:
        return dice.choice([None, dice.randint(1, upper), upper * 100])

    bounds = [
        bound_of(organization, who, requests=most(9), tokens=most(900), cost_nano=most(9_000))
        for who in ("user:1", "user:2", "organization")
    ]
    for bound in bounds:
        if dice.random() < 0.7:
            Allowance.objects.create(
                id=bound.id,
                organization=organization,
                subject=bound.subject,
                period=bound.period,
                requests=dice.randint(0, 3),
                tokens=dice.randint(0, 200),
                tokens_held=dice.randint(0, 100),
                cost_nano=dice.randint(0, 2_000),
            )
    return [
        Reservation(
            bounds=[dice.choice(bounds[:2]), bounds[2]],
            tokens=dice.randint(0, 200),
            cost_nano=dice.randint(0, 2_000),
            overdraft=overdraft,
        )
        for _ in range(dice.randint(2, 8))
    ]


@pytest.mark.parametrize("seed", range(60))
def test_it_comes_to_what_it_would_one_after_the_other(seed: int) -> None:
    organization = Organization.objects.create(name="Acme")
    wanted = by_chance(organization, seed)
    assert played(wanted, at_once=True) == played(wanted, at_once=False)


def test_it_asks_once_for_each_allowance_where_there_is_room(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    organization = Organization.objects.create(name="Acme")
    bounds = [bound_of(organization, who, requests=100) for who in ("user:1", "organization")]
    wanted = [Reservation(bounds=bounds, tokens=10, cost_nano=10)] * 16
    with connection.cursor() as cursor:
        together.reserve(cursor, wanted)  # they have rows from now on
    with django_assert_num_queries(2), connection.cursor() as cursor:
        outcomes = together.reserve(cursor, wanted)
    assert [one.counts[bounds[0].id].requests for one in outcomes if isinstance(one, Granted)] == [
        *range(17, 33)
    ]


def test_it_takes_each_by_itself_while_limits_are_being_changed() -> None:
    organization = Organization.objects.create(name="Acme")
    old, new = (bound_of(organization, "user:1", requests=most) for most in (1, 2))
    wanted = [Reservation(bounds=[one], tokens=0, cost_nano=0) for one in (old, new, new)]
    outcomes, rows = played(wanted, at_once=True)
    assert [isinstance(one, Granted) for one in outcomes] == [True, True, False]
    assert [row["requests"] for row in rows] == [2]
