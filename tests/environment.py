"""The settings of a test run, set before Django reads any: a developer's own .env plays no part."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A run inside a run (the suite on PostgreSQL) has a folder of its own, and so has each of the
# processes that share a run.
VAR = Path(os.environ.get("OPSCENTER_TEST_VAR", ROOT / "var" / "test"))
VAR /= os.environ.get("PYTEST_XDIST_WORKER", "")
VAR.mkdir(parents=True, exist_ok=True)

# Settings and credentials of whoever runs the tests: no server under test may find them.
KEPT = {
    "OPSCENTER_TEST_VAR",
    "OPSCENTER_DATABASE_URL",
    "OPSCENTER_REAL",
    "OPSCENTER_CHAOS_SEEDS",
    "OPSCENTER_CHAOS_S",
}
OTHERS = (
    "ANTHROPIC_",
    "KEYCLOAK_",
    "LAGO_",
    "LITELLM_",
    "OLLAMA_",
    "BRIGADE_",
    "EXTERNAL_API_URL",
    "OPSCENTER_",
)
for name in [name for name in os.environ if name.startswith(OTHERS) and name not in KEPT]:
    del os.environ[name]

os.environ["OPSCENTER_ENV_FILE"] = os.devnull
os.environ["OPSCENTER_VAR_DIR"] = str(VAR)
os.environ["OPSCENTER_SECRET_KEY"] = "only-for-tests-" + "s" * 32
os.environ["OPSCENTER_KEY_PEPPER"] = "only-for-tests-" + "p" * 32
os.environ["OPSCENTER_DEFAULT_PLAN"] = "none"  # a test that wants limits makes a subscription
# All tests come from one address, and many show wrong keys.
os.environ["OPSCENTER_FAILED_AUTH_PER_MINUTE"] = "1000000"
# A Keycloak that is never there; tests that need one say where it is.
os.environ["KEYCLOAK_URL"] = "http://127.0.0.1:9"
os.environ["KEYCLOAK_CLIENT_SECRET"] = "only-for-tests-" + "k" * 32
os.environ["OPSCENTER_ENCRYPTION_KEYS"] = "only-for-tests-" + "e" * 32


def child(**more: str) -> dict[str, str]:
    """The environment of a process that a test starts: none that shares this run, be it pytest."""
    ours = {name: value for name, value in os.environ.items() if "PYTEST_XDIST" not in name}
    return {**ours, **more}
