"""`manage.py importprices` and `exportprices`: what an operator reads and types."""

import io
import json
import re
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from accounts.tests.people import Person
from billing import pricefile
from billing.models import Price

pytestmark = pytest.mark.django_db


def run(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.fixture
def tariff(tmp_path: Path) -> Path:
    Price.objects.all().delete()
    file = tmp_path / "tariff.json"
    entry = {
        "pattern": "qwen3*",
        "upstream": "gpu-box",
        "input": "0.20",
        "output": "0.60",
        "valid_from": "2026-01-01T00:00:00Z",
    }
    file.write_text(json.dumps([entry]))
    return file


def test_it_says_what_it_did_and_what_to_do_next(tariff: Path) -> None:
    line = "qwen3* at gpu-box: input 0.20, output 0.60 from 2026-01-01T00:00:00Z"
    assert run("importprices", str(tariff), "--dry-run").splitlines() == [
        f"created    {line}",
        "1 created, 0 changed, 0 unchanged; nothing was written.",
    ]
    assert not Price.objects.exists()
    told = run("importprices", str(tariff)).splitlines()
    assert told[:2] == [f"created    {line}", "1 created, 0 changed, 0 unchanged."]
    assert "manage.py rerateusage --dry-run" in told[2]
    assert run("importprices", str(tariff)).splitlines() == [
        f"unchanged  {line}",
        "0 created, 0 changed, 1 unchanged.",
    ]


def test_it_says_what_a_change_takes_over_from(tariff: Path) -> None:
    run("importprices", str(tariff))
    entry = {"pattern": "qwen3*", "upstream": "gpu-box", "input": "0.30", "output": "0.60"}
    tariff.write_text(json.dumps([entry | {"multiplier": "1.2"}]))
    told = run("importprices", str(tariff))
    assert (
        "changed    qwen3* at gpu-box: input 0.20 -> 0.30, cache_read 0.02 -> 0.03,"
        " cache_write_5m 0.25 -> 0.375, cache_write_1h 0.40 -> 0.60, multiplier 1.00 -> 1.20 from "
    ) in told


def test_it_reads_stdin(tariff: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO(tariff.read_bytes()))
    monkeypatch.setattr(sys, "stdin", text)
    assert "1 created" in run("importprices", "-")


def test_it_imports_the_shipped_list(tariff: Path) -> None:
    assert ", 0 unchanged." in run("importprices", "--shipped")
    assert "0 created, 0 changed, " in run("importprices", "--shipped")


def test_it_shows_every_mistake_under_one_line(tariff: Path) -> None:
    tariff.write_text('[{"pattern": "m", "input": "-1", "ouput": "2"}]')
    with pytest.raises(CommandError) as refused:
        run("importprices", str(tariff))
    assert str(refused.value).splitlines() == [
        "Nothing was imported:",
        "  Entry 1 ('m'): there is no 'ouput'; the fields are " + ", ".join(pricefile.FIELDS) + ".",
        "  Entry 1 ('m'): output is missing.",
        "  Entry 1 ('m'): input must not be negative.",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Say either FILE or --shipped."),
        (["a", "--shipped"], "Say either FILE or --shipped."),
        (["/nowhere/at/all"], "FILE: /nowhere/at/all cannot be read: No such file or directory."),
    ],
)
def test_it_says_what_it_needs(arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError) as refused:
        run("importprices", *arguments)
    assert str(refused.value) == says


def test_it_reads_no_more_of_a_file_than_it_takes(
    tariff: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricefile, "MAX_BYTES", 10)
    with pytest.raises(CommandError, match="larger than 10 bytes"):
        run("importprices", str(tariff))


def test_it_exports_to_a_file_what_it_exports_to_stdout(tariff: Path, tmp_path: Path) -> None:
    run("importprices", str(tariff))
    file = tmp_path / "out.json"
    assert run("exportprices", str(file)) == ""
    assert file.read_text(encoding="utf-8") == run("exportprices")
    assert "0 created, 0 changed, 1 unchanged." in run("importprices", str(file))
    with pytest.raises(CommandError, match="cannot be written"):
        run("exportprices", str(tmp_path))


def test_it_shows_every_figure_that_changes(tariff: Path) -> None:
    before = {"pattern": "m", "input": "4.00", "output": "20.00", "cache_read": "0.20"}
    tariff.write_text(json.dumps([before | {"server_tool": "0.01"}]))
    run("importprices", str(tariff))
    entry = {"pattern": "m", "input": "4.00", "output": "18.00", "cache_read": "0.45"}
    more = {"multiplier": "1.5", "valid_until": "2090-01-01T00:00:00Z"}
    tariff.write_text(json.dumps([entry | more]))
    for options in (["--force", "--dry-run"], ["--force"]):
        assert (
            run("importprices", str(tariff), *options)
            .splitlines()[0]
            .startswith(
                "changed    m: output 20.00 -> 18.00, cache_read 0.20 -> 0.45,"
                " server_tool 0.01 -> 0.00, multiplier 1.00 -> 1.50,"
                " valid_until null -> 2090-01-01T00:00:00Z from "
            )
        )


def closer(file: Path, *entries: dict[str, str]) -> list[str]:
    """What an import notes, each entry with the same figures."""
    figures = {"input": "1.00", "output": "1.00"}
    file.write_text(json.dumps([figures | entry for entry in entries]))
    told = run("importprices", str(file), "--force")
    return [line.strip() for line in told.splitlines() if "note" in line]


def test_it_notes_which_closer_patterns_keep_their_prices(tariff: Path) -> None:
    closer(
        tariff,
        {"pattern": "claude-opus-5*"},
        {"pattern": "claude-opus-5-5*"},
        {"pattern": "claude-haiku-*"},
        {"pattern": "claude-*"},
        {"pattern": "claude-opus-**"},  # covered, and no closer
        {"pattern": "claude-opus-4", "upstream": "gpu-box"},
        {"pattern": "claude-opus-3", "valid_until": "2090-01-01T00:00:00Z"},
        {
            "pattern": "claude-opus-2",
            "valid_from": "2024-01-01T00:00:00Z",
            "valid_until": "2025-01-01T00:00:00Z",
        },
    )
    wide = {"pattern": "claude-opus-*"}
    assert closer(tariff, wide | {"input": "2.00"}, {"pattern": "claude-opus-5*"}) == [
        "note: claude-opus-3, claude-opus-5-5* are closer and keep their prices"
    ]
    assert closer(tariff, wide | {"upstream": "gpu-box"}) == [
        "note: claude-opus-4 is closer and keeps its price"
    ]
    assert closer(tariff, wide | {"input": "2.00"}) == []  # nothing has changed


def test_it_names_some_closer_patterns_and_counts_the_rest(tariff: Path) -> None:
    closer(tariff, *({"pattern": f"m-{number}"} for number in range(8)))
    assert closer(tariff, {"pattern": "m-*"}) == [
        "note: m-0, m-1, m-2, m-3, m-4 and 3 more are closer and keep their prices"
    ]


def test_the_examples_of_the_documentation_can_be_pasted(tmp_path: Path, alice: Person) -> None:
    text = (settings.BASE_DIR / "docs" / "operations.md").read_text(encoding="utf-8")
    tariff, demo = re.findall(r"^\{\"prices\": ?\[.*?\]\}$", text, re.DOTALL | re.MULTILINE)
    file = tmp_path / "tariff.json"
    file.write_text(tariff.replace("ORGANIZATION-ID", str(alice.organization.id)))
    told = run("importprices", str(file))  # over the prices that are shipped
    assert "changed    claude-opus-5-5*: input 4.00 -> 3.60, output 20.00 -> 18.00, " in told
    assert "cache_read 0.20 -> 0.18" in told
    assert "server_tool" not in told
    assert "2 created, 1 changed, 0 unchanged." in told
    file.write_text(demo)
    told = run("importprices", str(file), "--force")
    assert "changed    * at demo: input 0.00 -> 4.00, output 0.00 -> 20.00, " in told
