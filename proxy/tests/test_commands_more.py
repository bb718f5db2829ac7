"""`manage.py explainroute`, `importmapping` and `resealcredentials`."""

import io
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts import sealed
from accounts.models import AuditEntry, Organization
from proxy import credentials, table
from proxy.models import Agent, Crew, OwnCredential, Route, Upstream

OLD, NEW = "o" * 32, "n" * 32


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """No test sees the routes of another: the table lives in memory for some seconds."""
    table._memory.forget(None)


@pytest.fixture
def box(db: None) -> Upstream:
    return Upstream.objects.create(name="box", kind="compatible", base_url="http://box")


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO(), no_color=True)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_it_explains_where_a_model_goes(box: Upstream) -> None:
    Route.objects.create(pattern="claude-*", upstream=box, target_model="qwen3")
    Route.objects.create(pattern="other", upstream=box)
    lines = run("explainroute", "claude-x").splitlines()
    assert lines[0] == "claude-x -> qwen3 at box (compatible), with the credential: none"
    assert "claude-*" in lines[1]
    assert lines[3].split()[:5] == ["STATE", "PATTERN", "POSITION", "WEIGHT", "UPSTREAM"]
    assert lines[4].startswith("chosen")
    assert "Its pattern does not match." in lines[5]


@pytest.mark.django_db(transaction=True)
def test_it_explains_who_an_agents_model_leads_to(box: Upstream, settings: Settings) -> None:
    settings.AGENT_MODEL = "claude-small"
    writer = Agent.objects.create(slug="writer", name="Writer")
    tester = Agent.objects.create(slug="tester", name="Tester", model="claude-large")
    crew = Crew.objects.create(slug="both", name="Both", kind="chain")
    for agent in (writer, tester):
        crew.members.create(agent=agent)
    Route.objects.create(pattern="claude-*", upstream=box)
    said = run("explainroute", "claude-agent-tester").splitlines()
    assert said[0].startswith("claude-agent-tester -> claude-large at box")
    assert said[1].startswith("It is an agent: tester asks claude-large. The closest pattern")
    said = run("explainroute", "claude-crew-both").splitlines()
    assert said[0].startswith("claude-crew-both -> claude-small at box")
    assert "(chain): writer asks claude-small, tester asks claude-large." in said[1]
    assert "that suits what is asked" in run("explainroute", "claude-brigade-auto")
    with pytest.raises(CommandError, match="Nothing answers for claude-agent-nobody"):
        run("explainroute", "claude-agent-nobody")
    table._memory.forget(None)
    Route.objects.create(pattern="claude-agent-tester", upstream=box, target_model="a-route")
    assert "-> a-route at box" in run("explainroute", "claude-agent-tester")


@pytest.mark.django_db(transaction=True)
def test_it_explains_for_an_organization(box: Upstream) -> None:
    acme = Organization.objects.create(name="Acme")
    Route.objects.create(pattern="m", upstream=box, organization=acme, target_model="theirs")
    assert "m -> theirs" in run("explainroute", "m"), "it is the only one there is"
    Organization.objects.create(name="Other")
    with pytest.raises(CommandError, match="Nothing answers for m"):
        run("explainroute", "m")
    assert "m -> theirs" in run("explainroute", "m", "--organization", str(acme.pk))
    assert "m -> theirs" in run("explainroute", "m", "--organization", "Acme")
    for wrong in ("acme", str(box.pk), "00000000-0000-0000-0000-000000000001"):
        with pytest.raises(CommandError, match=rf"^--organization: .* there are: Acme \({acme.pk}"):
            run("explainroute", "m", "--organization", wrong)


def test_it_imports_a_file(box: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "mapping.json"
    file.write_text('{"model_mapping": {"claude-a": "gpt-4"}}')
    tried = run("importmapping", str(file), "--upstream", "box", "--dry-run")
    assert "1 created, 0 changed, 0 unchanged; nothing was written." in tried
    assert "explainroute" not in tried
    assert not Route.objects.exists()
    done = run("importmapping", str(file), "--upstream", "box")
    assert "created    claude-a -> gpt-4 at box (position 100)" in done
    assert "manage.py explainroute MODEL" in done
    assert Route.objects.get().target_model == "gpt-4"


def test_it_imports_from_stdin(box: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": {"upstream": "box"}}')))
    assert "created    a -> a at box" in run("importmapping", "-")


def test_it_lists_all_problems_and_imports_nothing(box: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "mapping.json"
    file.write_text('{"a": 1, "b": "fine", "c": []}')
    with pytest.raises(CommandError) as refused:
        run("importmapping", str(file), "--upstream", "box")
    assert str(refused.value).splitlines()[0] == "Nothing was imported:"
    assert [line.split(":")[0].strip() for line in str(refused.value).splitlines()[1:]] == [
        "'a'",
        "'c'",
    ]
    assert not Route.objects.exists()


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_it_says_that_a_file_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match=r"^FILE: .* cannot be read"):
        run("importmapping", str(tmp_path / name))


def test_it_reseals_all_under_the_newest_key(box: Upstream, settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    box.store("operators")
    box.save()
    acme = Organization.objects.create(name="Acme")
    credentials.store_own(acme, box, "theirs", "system")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    said = run("resealcredentials")
    assert "2 stored credentials encrypted under the newest key." in said
    assert "only if it was started with that key" in said
    settings.ENCRYPTION_KEYS = [NEW]
    box.refresh_from_db()
    assert sealed.opened(box.credential_sealed) == "operators"
    assert sealed.opened(OwnCredential.objects.get().credential_sealed) == "theirs"
    line = AuditEntry.objects.latest("id")
    assert (line.action, line.actor, line.details) == (
        "credential.resealed",
        "system",
        {"count": 2},
    )


def test_it_does_the_others_when_one_is_lost_and_names_it(
    box: Upstream, settings: Settings
) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    box.store("kept")
    box.save()
    acme = Organization.objects.create(name="Acme")
    credentials.store_own(acme, box, "lost", "system")
    OwnCredential.objects.update(credential_sealed="garbage")
    Upstream.objects.create(name="gone", kind="demo", credential_sealed="garbage")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    with pytest.raises(CommandError) as refused:
        run("resealcredentials")
    assert str(refused.value).splitlines()[1:] == [
        "  upstream gone",
        "  own credential of Acme at box",
    ]
    settings.ENCRYPTION_KEYS = [NEW]
    box.refresh_from_db()
    assert sealed.opened(box.credential_sealed) == "kept"
    assert OwnCredential.objects.get().credential_sealed == "garbage"


def test_it_lets_a_credential_win_that_was_stored_meanwhile(
    box: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.store("old")
    box.save()
    newer = sealed.seal("newer")

    def slow(token: str) -> str:
        Upstream.objects.update(credential_sealed=newer)
        return sealed.seal(sealed.opened(token))

    monkeypatch.setattr(sealed, "resealed", slow)
    run("resealcredentials")
    box.refresh_from_db()
    assert box.credential_sealed == newer


def test_it_reseals_nothing_without_a_key(db: None, settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = []
    with pytest.raises(CommandError, match="OPSCENTER_ENCRYPTION_KEYS is not set"):
        run("resealcredentials")
