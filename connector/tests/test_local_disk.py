"""A disk that is full or read-only: a refusal that says so, and everything as it was."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def _may_have_its_own_disk() -> bool:
    if shutil.which(NAMESPACE[0]) is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _may_have_its_own_disk(), reason="no namespaces here (unshare)")
@pytest.mark.parametrize(
    ("options", "reason"), [("", "the disk is full"), ("bind,ro", "on a read-only file system")]
)
def test_it_says_so_and_changes_nothing(tmp_path: Path, options: str, reason: str) -> None:
    said = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.on_a_disk", str(tmp_path), options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    results: dict[str, Any] = json.loads(said.stdout)
    for name in ("new", "over", "edit"):
        assert results[name]["isError"] is True
        assert f"{reason}" in results[name]["content"][0]["text"]
        assert "nothing was changed" in results[name]["content"][0]["text"]
    assert results["read"]["structuredContent"]["content"] == "bread"
    names = {entry["name"] for entry in results["list"]["structuredContent"]["entries"]}
    assert names - {"a"} == {"old"}  # no half of a file; folders on the way may have been made
