"""The connector, as a gateway hands it out."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from django.test import Client

from opscenter import connector_archive
from tests.environment import ROOT


def names() -> set[str]:
    answer = Client().get("/connector.tar.gz")
    assert (answer.status_code, answer["content-type"]) == (200, "application/gzip")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as packed:
        return set(packed.getnames())


def test_it_holds_the_program_and_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "connector/opscenter_connector"],  # noqa: S607  (as in any shell)
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    wanted = {one.removeprefix("connector/") for one in listed.stdout.split()}
    wanted |= {"pyproject.toml", "README.md"}
    tops = {name.partition("/")[0] for name in names()}
    assert len(tops) == 1 and next(iter(tops)).startswith("opscenter-connector-")
    assert {name.partition("/")[2] for name in names()} == wanted


def test_without_sources_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector_archive, "ROOT", tmp_path)  # an image may leave them out
    assert Client().get("/connector.tar.gz").status_code == 404
