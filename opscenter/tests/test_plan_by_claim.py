"""The plan that a token names for the organizations it names."""

from dataclasses import replace

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry, Membership, Organization
from accounts.tests.at_keycloak import signed_in
from accounts.tests.people import Person
from accounts.tests.people import alice as alice
from billing.models import Alarm, Plan, Subscription
from tests.keycloak import Keycloak
from tests.keycloak import keycloak as keycloak

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def by_tier(keycloak: Keycloak, settings: Settings) -> None:
    settings.OIDC_CLAIMS = replace(settings.OIDC_CLAIMS, plan="subscription_tier")
    keycloak.person |= {"organization": "acme", "subscription_tier": "pro"}


def plans() -> list[tuple[str, str]]:
    return list(Subscription.objects.values_list("organization__name", "plan__code"))


def test_it_puts_the_organization_on_the_plan(client: Client, keycloak: Keycloak) -> None:
    signed_in(client)
    assert plans() == [("acme", "pro")]
    signed_in(client)
    assert AuditEntry.objects.filter(action="subscription.claimed").count() == 1
    keycloak.person["subscription_tier"] = ["starter"]
    signed_in(client)
    assert plans() == [("acme", "starter")]
    line = AuditEntry.objects.filter(action="subscription.claimed").latest("id")
    assert line.details == {"plan": ["pro", "starter"]}


def test_a_plan_that_is_not_there_is_an_alarm(client: Client, keycloak: Keycloak) -> None:
    keycloak.person["subscription_tier"] = "<b>gold</b>"
    signed_in(client)
    assert plans() == []
    assert Alarm.objects.get(code="unknown_plan").subject == "<b>gold</b>"


def test_where_lago_bills_its_word_counts(
    client: Client, keycloak: Keycloak, settings: Settings
) -> None:
    settings.LAGO_API_URL = "http://127.0.0.1:9"
    signed_in(client)
    assert plans() == []


def test_it_says_nothing_of_places_given_by_hand(
    client: Client, keycloak: Keycloak, alice: Person
) -> None:
    signed_in(client)
    acme = Organization.objects.get(external_id="acme")
    user = acme.memberships.get().user
    Membership.objects.create(user=user, organization=alice.organization)
    Subscription.objects.create(
        organization=alice.organization, plan=Plan.objects.get(code="starter")
    )
    signed_in(client)
    assert set(plans()) == {("acme", "pro"), ("Acme", "starter")}
