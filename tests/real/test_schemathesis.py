"""Schemathesis asks the REST pages whatever their own description allows, and what it does not."""

from pathlib import Path

import pytest

from accounts.principal import SCOPES
from accounts.tests.people import Person
from tests import gateway as gateways
from tests.environment import VAR
from tests.real import peers, programs
from tests.real.conftest import need

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

ASKING_S = 40  # of its own choice; it asks about two thousand times
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"
CHECKS += ",response_schema_conformance"


def test_every_answer_is_a_described_one(
    alice: Person, tmp_path: Path, django_db_setup: None
) -> None:
    need("schemathesis")
    _, key = alice.key("everything", SCOPES)
    log = VAR / "schemathesis-gateway.log"
    log.write_bytes(b"")
    program = peers.environment_of(peers.named("schemathesis")) / "bin" / "st"
    with gateways.running(log) as (url, _):
        asked: list[str | Path] = [
            program,
            "run",
            f"{url}/api/schema",
            "--seed",
            "8",
            "--continue-on-failure",
        ]
        asked += ["-H", f"Authorization: Bearer {key}", "-H", "Accept: application/json"]
        asked += ["--phases", "coverage,fuzzing", "-c", CHECKS, "--max-time", str(ASKING_S)]
        found = programs.run(
            asked,
            folder=tmp_path,
            environment={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
            within_s=6 * ASKING_S,
        )
    assert found.code == 0, found.stdout[-6000:]
    assert "Traceback" not in log.read_text()
