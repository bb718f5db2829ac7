"""`manage.py upstreams`: an operator's first and last resort."""

import io
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts import sealed
from accounts.models import AuditEntry
from opscenter import env
from proxy import table
from proxy.models import Route, Upstream
from proxy.tests.listing import Listing, listing

__all__ = ["listing"]

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("upstreams", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def add(*arguments: str) -> Upstream:
    run("add", *arguments)
    return Upstream.objects.get(name=arguments[0])


def test_it_adds_an_upstream_with_its_routes_and_says_what_answers() -> None:
    out, err = run(
        *("add", "box", "http://box:8000", "--kind", "openai", "--credential-variable", "BOX_KEY"),
        *("--route", "claude-*=qwen3", "--route", "*", "--context-window", "32768"),
        *("--max-output-tokens", "4096", "--link-local", "--no-tls-verify", "--idle-s", "9"),
        "--meters-itself",
    )
    row = Upstream.objects.get()
    assert (row.kind, row.base_url, row.credential_variable) == ("openai", row.base_url, "BOX_KEY")
    assert (row.credential_header, row.context_window) == ("authorization", 32768)
    assert (row.max_output_tokens, row.idle_s) == (4096, 9)
    assert (row.private_networks, row.tls_verify, row.meters_itself) == (True, False, True)
    assert table.config_of(row).meters_itself
    told = Route.objects.order_by("position").values_list("pattern", "target_model", "position")
    assert list(told) == [("claude-*", "qwen3", 100), ("*", "", 1000)]
    assert "Added box (openai) at http://box:8000, credential: $BOX_KEY (unset)." in out
    assert "claude-* leads to box as qwen3" in out
    assert "* leads to box as the same name" in out
    assert "manage.py upstreams test box" in out
    assert "BOX_KEY is not set: put it into .env and start the server again" in err
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["upstream.created", "route.created", "route.created"]


@pytest.mark.parametrize(
    ("url", "kind", "header", "says"),
    [
        ("https://api.anthropic.com", "anthropic", "x-api-key", "by its address"),
        ("http://litellm:4000", "compatible", "authorization", "--kind says otherwise"),
        ("https://api.openai.com/v1", "openai", "authorization", "by its address"),
        ("https://api.deepseek.com/anthropic", "compatible", "authorization", "of its own"),
    ],
)
def test_it_guesses_the_kind_and_says_so(url: str, kind: str, header: str, says: str) -> None:
    _, err = run("add", "box", *([url] if url else []))
    row = Upstream.objects.get()
    assert (row.kind, row.credential_header) == (kind, header)
    assert says in err


@pytest.mark.parametrize(
    "pasted",
    ["http://box/v1", "http://box/v1/", "http://box/v1/messages", "http://box/v1/chat/completions"],
)
def test_it_takes_the_address_as_people_paste_it(pasted: str) -> None:
    _, err = run("add", "box", pasted, "--kind", "openai")
    assert Upstream.objects.get().base_url == "http://box"
    assert "the address is http://box." in err


def test_it_stores_a_credential_from_stdin_and_prints_it_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-secret\n"))
    out, err = run("add", "box", "http://box", "--credential-stdin")
    row = Upstream.objects.get()
    assert sealed.opened(row.credential_sealed) == "sk-secret"
    assert "credential: stored" in out
    assert "sk-secret" not in out + err + str(list(AuditEntry.objects.values()))
    assert AuditEntry.objects.filter(action="credential.stored", actor="system").exists()
    run("add", "box", "--replace", "--credential-variable", "BOX_KEY")
    row.refresh_from_db()
    assert (row.credential_sealed, row.credential_variable) == ("", "BOX_KEY")


@pytest.mark.parametrize("given", ["", "\n", "two words", "k" * 5000])
def test_it_refuses_a_credential_that_is_none(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    with pytest.raises(CommandError, match=r"^--credential-stdin: ") as refused:
        run("add", "box", "http://box", "--credential-stdin")
    assert not Upstream.objects.exists()
    assert not given.strip() or given[:9] not in str(refused.value)


def test_it_says_that_no_key_is_set_to_store_it_under(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ENCRYPTION_KEYS = []
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-secret"))
    with pytest.raises(CommandError, match="OPSCENTER_ENCRYPTION_KEYS is not set"):
        run("add", "box", "http://box", "--credential-stdin")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["two words", "http://box"], "NAME: It has 1 to 50 letters, digits, dashes"),
        (["n" * 51, "http://box"], "NAME: It has 1 to 50 letters, digits, dashes"),
        (["box", "box:8000"], "URL: Enter an http"),
        (["box", "--kind", "openai"], "URL: An upstream needs an address"),
        (["box", "http://169.254.169.254"], "URL: This is a link-local"),
        (["box", "http://box", "--kind", "telepathy"], "invalid choice"),
        (["box", "http://box", "--credential-variable", "sk-a"], "--credential-variable: "),
        (["box", "http://box", "--context-window", "0"], "--context-window: "),
        (["box", "http://box", "--context-window", "many"], "invalid int"),
        (["box", "http://box", "--idle-s", "nan"], "--idle-s: invalid seconds value"),
        (["box", "http://box", "--idle-s", "0"], "--idle-s: "),
        (["box", "http://box", "--route", "=x"], "--route: '=x' names no model"),
        (["box", "http://box", "--route", "m" * 300], "--route: "),
        (["box", "http://box", "--route", "a=1", "--route", "a=2"], "--route: 'a' stands"),
        (["there", "http://box"], "NAME: there is an upstream 'there'; --replace updates it."),
    ],
)
def test_it_names_the_option_that_is_wrong_and_makes_nothing(
    arguments: list[str], says: str
) -> None:
    Upstream.objects.create(name="there", kind="demo")
    with pytest.raises(CommandError) as refused:
        run("add", *arguments)
    assert says in str(refused.value)
    assert Upstream.objects.count() == 1
    assert not Route.objects.exists()


def test_it_updates_what_it_is_told_and_keeps_the_rest() -> None:
    before = add("box", "http://old", "--context-window", "1000", "--route", "a=one")
    out, _ = run("add", "box", "http://new", "--replace", "--route", "a=two", "--route", "b")
    row = Upstream.objects.get()
    assert (row.pk, row.base_url, row.context_window) == (before.pk, "http://new", 1000)
    told = Route.objects.order_by("pattern").values_list("pattern", "target_model")
    assert list(told) == [("a", "two"), ("b", "")]
    assert "Updated box" in out


def test_it_lists_upstreams_in_a_plain_table(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setitem(env._ENVIRONMENT, "SET_KEY", "secret-value")
    add("named", "http://a", "--credential-variable", "SET_KEY", "--route", "a=b", "--route", "c")
    add("unset", "http://b", "--credential-variable", "UNSET_KEY")
    stored = add("stored", "http://c")
    stored.store("sk-secret")
    stored.save()
    lost = add("lost", "http://d")
    lost.credential_sealed, lost.enabled = "garbage", False
    lost.save()
    out, _ = run("list")
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "NAME KIND ADDRESS CREDENTIAL ROUTES",
        "lost (off) compatible http://d cannot be decrypted: no key fits none",
        "named compatible http://a $SET_KEY a=b, c",
        "stored compatible http://c stored none",
        "unset compatible http://b $UNSET_KEY (unset) none",
    ]
    assert len({line.index("http") for line in out.splitlines()[1:]}) == 1
    assert "secret" not in out


def test_it_tests_one_and_all(listing: Listing) -> None:
    listing.lists("qwen3")
    add("good", listing.url)
    assert "ok   good: It is there. It lists 1 model: qwen3." in run("test", "good")[0]
    add("bad", "http://127.0.0.1:9", "--credential-variable", "UNSET_KEY")
    out = StringIO()
    with pytest.raises(CommandError, match="1 of 2 cannot be used as it is"):
        call_command("upstreams", "test", "--all", stdout=out)
    assert "BAD  bad: Nobody listens" in out.getvalue()
    assert "($UNSET_KEY is not set here: put it into .env" in out.getvalue()
    assert "ok   good" in out.getvalue()
    assert "A running server knows a variable only as it was at its start." in out.getvalue()


def test_it_says_how_to_store_another_credential(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-secret"))
    add("box", listing.url, "--credential-stdin")
    listing.status, out = 401, StringIO()
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("upstreams", "test", "box", stdout=out)
    assert "upstreams add box --replace --credential-stdin" in out.getvalue()
    assert "variable" not in out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "Say NAME or --all"), (["x", "--all"], "Say NAME or --all"), (["x"], "no upstream 'x'")],
)
def test_it_says_what_can_be_tested(arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run("test", *arguments)
