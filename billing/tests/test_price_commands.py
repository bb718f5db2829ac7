"""`manage.py importprices` and `exportprices`: what an operator reads and types."""

import io
import json
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

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
    assert "changed    qwen3* at gpu-box: input 0.30, output 0.60, times 1.20 from " in told
    assert "(was input 0.20, output 0.60)" in told


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
