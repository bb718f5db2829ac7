"""The settings of a test run, set before Django reads any: a developer's own .env plays no part."""

import os  # the tests' own environment, handed to the servers they start
from pathlib import Path

VAR = Path(__file__).resolve().parent.parent / "var" / "test"
VAR.mkdir(parents=True, exist_ok=True)

os.environ["OPSCENTER_ENV_FILE"] = "/dev/null"
os.environ["OPSCENTER_VAR_DIR"] = str(VAR)
os.environ["OPSCENTER_SECRET_KEY"] = "only-for-tests-" + "s" * 32
os.environ["OPSCENTER_KEY_PEPPER"] = "only-for-tests-" + "p" * 32
