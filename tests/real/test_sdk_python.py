"""Anthropic's Python SDK works through the gateway."""

from pathlib import Path

import pytest

from tests.real.conftest import RunScript
from tests.real.sdk.promises import Promises

pytestmark = pytest.mark.real


class TestPython(Promises):
    script = Path(__file__).parent / "sdk" / "ask.py"

    @pytest.fixture
    def sdk(self, python_sdk: RunScript) -> RunScript:
        return python_sdk
