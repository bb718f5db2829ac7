"""Schemathesis asks whatever our own description allows, and what it does not: /api and /v1."""

from pathlib import Path

import pytest

from accounts.principal import SCOPES
from accounts.tests.people import Person
from proxy.models import Route, Upstream
from tests import gateway as gateways
from tests.environment import VAR
from tests.real import peers, programs
from tests.real.conftest import need

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

ASKING_S = 20  # of its own choice; it asks about a thousand times
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"
CHECKS += ",response_schema_conformance"
# It finds ids in answers and uses them: here it may revoke the very key that it shows.
OF_A_KEY = r"^/api/v1/api-keys/\{key_id\}"
PARTS = {
    "messages": ["--include-path-regex", "^/v1/"],
    "rest": ["--include-path-regex", "^/api/", "--exclude-path-regex", OF_A_KEY],
    "keys": ["--include-path-regex", OF_A_KEY],
}
LOCKED_OUT = "Authentication failed"


@pytest.mark.parametrize("part", PARTS)
def test_every_answer_is_a_described_one(
    alice: Person, tmp_path: Path, django_db_setup: None, part: str
) -> None:
    need("schemathesis")
    _, key = alice.key("everything", SCOPES)
    demo = Upstream.objects.create(name="demo", kind=Upstream.Kind.DEMO)
    Route.objects.create(pattern="*", upstream=demo)
    log = VAR / f"schemathesis-{part}-gateway.log"
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
            *PARTS[part],
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
    # Who only hears 401 has asked nothing.
    assert part == "keys" or LOCKED_OUT not in found.stdout, found.stdout[-6000:]
