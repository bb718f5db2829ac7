"""The admin's login page: passwords are not tried for long, and nobody is locked out for good."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings

from accounts import rates, signin
from accounts.rates import Rate

URL = "/admin/login/"
RIGHT, WRONG = "the right one", "a guess"
HOME, OFFICE = "203.0.113.7", "198.51.100.9"


@pytest.fixture(autouse=True)
def operator(db: None) -> User:
    return User.objects.create_superuser("operator", password=RIGHT)


@pytest.fixture(autouse=True)
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.RATES, rates.LOGIN_ADDRESS, Rate(limit=3, period_s=300))
    monkeypatch.setitem(rates.RATES, rates.LOGIN_NAME, Rate(limit=6, period_s=3600))


def try_in(password: str, name: str = "operator", address: str = HOME, **headers: str) -> Any:
    form = {"username": name, "password": password}
    return Client(REMOTE_ADDR=address, headers=headers).post(URL, form)


def attack(name: str = "operator", times: int = 6) -> None:
    """Guesses under one name from as many addresses, one each."""
    for n in range(times):
        assert try_in(WRONG, name, f"192.0.2.{n}").status_code == 200


def test_it_lets_the_right_password_in() -> None:
    answer = try_in(RIGHT)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")


def test_it_refuses_after_so_many_failures_the_right_password_too() -> None:
    for n in range(3):
        answer = try_in(WRONG, f"name-{n}")
        assert answer.status_code == 200
        assert "Please enter the correct username" in answer.content.decode()
    refused = try_in(RIGHT)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 300
    page = refused.content.decode()
    assert "Too many failed sign-ins. Try again in " in page
    assert 'name="password"' in page  # the page itself, to go on from later
    assert refused.wsgi_request.user.is_anonymous
    assert try_in(RIGHT, address=OFFICE).status_code == 302


def test_it_looks_at_no_password_that_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        try_in(WRONG)
    monkeypatch.setattr("django.contrib.auth.forms.authenticate", None)  # a call would raise
    assert try_in(RIGHT).status_code == 429


def test_it_counts_failures_only() -> None:
    for _ in range(10):
        assert try_in(RIGHT).status_code == 302
    for _ in range(3):
        assert try_in(WRONG).status_code == 200
    assert try_in(WRONG).status_code == 429


def test_it_counts_nothing_that_tries_no_password() -> None:
    for _ in range(5):
        assert try_in("").status_code == 200
        assert try_in(WRONG, "").status_code == 200
        assert try_in(WRONG, "a\0b").status_code == 200
    assert Client(REMOTE_ADDR=HOME).get(URL).status_code == 200
    assert try_in(RIGHT).status_code == 302


def test_it_bounds_the_guesses_under_one_name_from_many_addresses() -> None:
    attack()
    assert try_in(WRONG, address="192.0.2.0").status_code == 429
    assert try_in(RIGHT, address="192.0.2.1").status_code == 429


def test_it_lets_the_owner_of_a_name_in_that_others_attack() -> None:
    attack(times=20)
    assert try_in(RIGHT, address=HOME).status_code == 302
    assert try_in(RIGHT, address=HOME).status_code == 302
    assert try_in(WRONG, address=HOME).status_code == 200
    refused = try_in(RIGHT, address=HOME)  # who fails from there cannot be told from the others
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 3600


def test_it_does_not_make_one_name_pay_for_another() -> None:
    User.objects.create_superuser("deputy", password=RIGHT)
    attack()
    assert try_in(WRONG, "deputy", "192.0.2.0").status_code == 200
    assert try_in(RIGHT, "deputy", "192.0.2.0").status_code == 302


@pytest.mark.parametrize("spelling", [" operator ", "operat\N{FULLWIDTH LATIN SMALL LETTER O}r"])
def test_it_knows_a_name_however_it_is_spelt(spelling: str) -> None:
    attack(spelling)
    assert try_in(RIGHT, address="192.0.2.0").status_code == 429


def test_it_believes_only_proxies_it_trusts(settings: Settings) -> None:
    for n in range(3):
        assert try_in(WRONG, x_forwarded_for=f"192.0.2.{n}").status_code == 200
    assert try_in(RIGHT, x_forwarded_for="192.0.2.9").status_code == 429
    settings.TRUSTED_PROXIES = 1
    assert try_in(RIGHT, x_forwarded_for=f"{HOME}, {OFFICE}").status_code == 302


def test_it_lets_people_in_while_the_counters_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = caches["default"]
    monkeypatch.setattr(cache, "add", None)  # a call raises, as a cache does that is away
    for _ in range(5):
        assert try_in(WRONG).status_code == 200
    assert try_in(RIGHT).status_code == 302


def test_it_counts_nobody_by_an_address_that_there_is_not() -> None:
    for n in range(5):
        assert try_in(WRONG, f"name-{n}", "").status_code == 200
    assert try_in(RIGHT, address="").status_code == 302


def test_it_still_wants_the_form_to_come_from_its_own_page() -> None:
    form = {"username": "operator", "password": RIGHT}
    assert Client(enforce_csrf_checks=True).post(URL, form).status_code == 403


@pytest.mark.parametrize(
    ("wait_s", "said"), [(1, "in a minute;"), (60, "in a minute;"), (61, "in 2 minutes;")]
)
def test_it_says_when_to_try_again(wait_s: int, said: str) -> None:
    assert said in signin._refusal(wait_s)
