"""`manage.py upstreams add` where a pattern has routes already."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from proxy.models import Route, Upstream

pytestmark = pytest.mark.django_db


def add(*arguments: str) -> str:
    """What it says besides the result."""
    err = StringIO()
    call_command("upstreams", "add", *arguments, stdout=StringIO(), stderr=err, no_color=True)
    return err.getvalue()


def test_the_demo_makes_room_and_who_was_there_before_comes_first() -> None:
    demo = Upstream.objects.create(name="demo", kind="demo")
    Route.objects.create(pattern="*", upstream=demo, position=1000)
    said = add("one", "http://one", "--route", "*")
    assert "The demo answers no more for *: its route is switched off." in said
    said = add("two", "http://two", "--route", "*")
    assert "one answers for *; when it fails: two. --position says otherwise." in said
    chain = Route.objects.filter(enabled=True).order_by("position")
    assert list(chain.values_list("upstream__name", "position")) == [("one", 1000), ("two", 1010)]


def test_equal_positions_share_and_are_said_to() -> None:
    add("one", "http://one", "--route", "m")
    said = add("two", "http://two", "--route", "m", "--position", "100", "--weight", "3")
    assert "one and two share m by weight" in said
    assert Route.objects.get(upstream__name="two").weight == 3


def test_a_star_in_a_target_and_a_forgotten_address_are_refused() -> None:
    with pytest.raises(CommandError, match=r"--route: a \* in the target 'foo-\*'"):
        add("one", "http://one", "--route", "gpt-*=foo-*")
    with pytest.raises(CommandError, match="URL: say where it is"):
        add("one")
    assert not Upstream.objects.exists()
