"""The steps of the Dockerfile, run here: what it copies starts, serves, is healthy and stops."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests import gateway as gateways
from tests import image

SECRETS = {
    name: f"{name}-{'0123456789abcdef' * 3}"
    for name in ("OPSCENTER_SECRET_KEY", "OPSCENTER_KEY_PEPPER")
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image.unpack(tmp_path_factory.mktemp("image"))


def settings(app: Path, **more: str) -> dict[str, str]:
    """A container's environment, and nothing of ours."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    place = {"PATH": path, "OPSCENTER_VAR_DIR": str(app / "var"), "OPSCENTER_HOST": "127.0.0.1"}
    return place | more


def test_everything_that_it_copies_goes_along() -> None:
    copied = image.recipe().copies
    apps = {"opscenter", "accounts", "billing", "mcp", "proxy"}
    assert {"manage.py", "templates", *apps} <= set(copied)
    assert [source for source in copied if not image.goes_along(source)] == []


def test_tests_and_secrets_stay_behind(app: Path) -> None:
    held = {str(one.relative_to(app)) for one in app.rglob("*")}
    assert "connector/opscenter_connector/cli.py" in held
    assert [one for one in held if "tests" in one.split("/") or ".env" in one] == []
    assert not image.goes_along(".env") and not image.goes_along("var/opscenter.sqlite3")


def test_it_does_not_start_without_secrets(app: Path) -> None:
    (app / "var").mkdir(exist_ok=True)
    found = subprocess.run(
        image.recipe().command,
        cwd=app,
        env=settings(app),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode != 0
    assert "OPSCENTER_SECRET_KEY must be a secret" in found.stderr


def test_it_serves_is_healthy_and_stops(app: Path, tmp_path: Path) -> None:
    (app / "var").mkdir(exist_ok=True)
    port = str(gateways.free_port())
    # What compose.yaml leaves empty is as good as unset.
    empty = dict.fromkeys(("OPSCENTER_DATABASE_URL", "OPSCENTER_REDIS_URL", "KEYCLOAK_URL"), "")
    environment = settings(app, OPSCENTER_PORT=port, **SECRETS, **empty)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            image.recipe().command, cwd=app, env=environment, stdout=output, stderr=output
        )
    try:
        gateways.eventually(lambda: _healthy(app, environment), within_s=60)
        archive = httpx.get(f"http://127.0.0.1:{port}/connector.tar.gz", trust_env=False)
        assert archive.status_code == 200
        process.send_signal(signal.SIGTERM)
        # Once all is done uvicorn ends as the signal would have.
        assert process.wait(40) in {0, -signal.SIGTERM}
    finally:
        process.kill()
        process.wait()
    told = log.read_text()
    assert "Application shutdown complete" in told and "Traceback" not in told


def _healthy(app: Path, environment: dict[str, str]) -> bool:
    asked = subprocess.run(image.recipe().health, cwd=app, env=environment, capture_output=True)
    return asked.returncode == 0
