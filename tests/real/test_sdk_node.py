"""Anthropic's TypeScript SDK works through the gateway."""

from pathlib import Path

import pytest

from tests.real.conftest import RunScript
from tests.real.sdk.promises import Promises

pytestmark = pytest.mark.real


class TestTypeScript(Promises):
    script = Path(__file__).parent / "sdk" / "ask.mjs"

    @pytest.fixture
    def sdk(self, node_sdk: RunScript) -> RunScript:
        return node_sdk
