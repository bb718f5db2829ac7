"""An allowed folder, what lies beside it, and the tools that work in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector.local.builtin import Builtin
from opscenter_connector.local.roots import Roots

WITHIN_S = 30.0
SECRET = "the recipe that nobody may have"


class Tools:
    """The tools for `root`, called as the runner calls them."""

    def __init__(self, *roots: Path) -> None:
        self.root = roots[0]
        self.builtin = Builtin(Roots.opened(roots))

    async def __call__(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        return await self.builtin.call(tool, arguments, within_s=WITHIN_S)

    async def fields(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The data of a call that does what it is asked."""
        result = await self(tool, **arguments)
        assert result["isError"] is False, result
        fields: dict[str, Any] = result["structuredContent"]
        return fields

    async def refusal(self, tool: str, /, **arguments: Any) -> str:
        """Why a call does nothing."""
        result = await self(tool, **arguments)
        assert result["isError"] is True, result
        assert "structuredContent" not in result
        assert SECRET not in str(result)
        said: str = result["content"][0]["text"]
        return said


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What a person has allowed."""
    folder = tmp_path / "ws"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What nobody has allowed, with a secret in it; its name begins like the root's."""
    folder = tmp_path / "ws-evil"
    folder.mkdir()
    (folder / "secret").write_text(SECRET)
    return folder


@pytest.fixture
def tools(root: Path) -> Iterator[Tools]:
    found = Tools(root)
    yield found
    found.builtin.roots.close()
