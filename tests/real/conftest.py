"""The real peers as fixtures. Without `make real` a missing peer is a skip, with it a failure."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest

from opscenter import env
from tests import openai_server as openai
from tests.openai_server import OpenAIServer
from tests.real import browser, litellm, machine, peers, postgres, programs, redis, tap, tunnel
from tests.real.browser import Chromium
from tests.real.litellm import LiteLLM
from tests.real.postgres import Postgres
from tests.real.programs import Finished
from tests.real.tap import Tap
from tests.real.tunnel import Stack
from tests.upstream import Upstream

pytest.register_assert_rewrite("tests.real.sdk.promises")

openai_server = openai.openai_server


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: the others run beside it, and not before it."""
    items.sort(key=lambda item: item.path.name != "test_postgres.py")


TOOLS = "Bash,Read,Write,Edit"  # allowed by name: root may not skip permissions altogether


class Gateway(Protocol):
    """What these tests know about the gateway under test."""

    @property
    def url(self) -> str: ...

    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Claude:
    """Claude Code, in a home and a working folder that hold nothing else."""

    folder: Path
    home: Path

    def __call__(
        self, prompt: str, *, url: str, key: str = "", within_s: float = programs.PROGRAM_S
    ) -> Finished:
        """Without a key it looks for one in its settings."""
        shown = {"ANTHROPIC_AUTH_TOKEN": key} if key else {}
        return programs.run(
            [
                peers.NODE / "node_modules" / ".bin" / "claude",
                "-p",
                prompt,
                "--allowedTools",
                TOOLS,
            ],
            folder=self.folder,
            environment={
                "HOME": str(self.home),
                "CLAUDE_CONFIG_DIR": str(self.home / ".claude"),
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "DISABLE_TELEMETRY": "1",
                "DISABLE_AUTOUPDATER": "1",
                "ANTHROPIC_BASE_URL": url,
            }
            | shown,
            within_s=within_s,
        )


class RunScript(Protocol):
    """Runs a script, with an SDK beside it, in an empty folder."""

    def __call__(
        self,
        script: Path,
        *arguments: str,
        environment: Mapping[str, str],
        within_s: float = programs.PROGRAM_S,
    ) -> Finished: ...


def need(*names: str) -> None:
    """Skip the test that has no such peer, or fail it where the peers were promised."""
    missing = [str(peer) for peer in map(peers.named, names) if not peers.is_there(peer)]
    if not missing:
        return
    said = f"missing: {', '.join(missing)} (`make real` installs it)"
    if env.flag("OPSCENTER_REAL", default=False):
        pytest.fail(said)
    pytest.skip(said)


@pytest.fixture
def claude(tmp_path: Path) -> Claude:
    need("@anthropic-ai/claude-code")
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    return Claude(folder=folder, home=home)


@pytest.fixture
def python_sdk(tmp_path: Path) -> RunScript:
    need("anthropic")
    python = peers.environment_of(peers.named("anthropic")) / "bin" / "python"

    def run(
        script: Path,
        *arguments: str,
        environment: Mapping[str, str],
        within_s: float = programs.PROGRAM_S,
    ) -> Finished:
        command: list[str | Path] = [python, script, *arguments]
        return programs.run(command, folder=tmp_path, environment=environment, within_s=within_s)

    return run


@pytest.fixture
def node_sdk(tmp_path: Path) -> RunScript:
    need("@anthropic-ai/sdk")
    node = shutil.which("node") or "node"
    (tmp_path / "node_modules").symlink_to(peers.NODE / "node_modules")

    def run(
        script: Path,
        *arguments: str,
        environment: Mapping[str, str],
        within_s: float = programs.PROGRAM_S,
    ) -> Finished:
        # Node looks for packages from where the script lies, so the script moves next to them.
        command: list[str | Path] = [node, shutil.copy(script, tmp_path), *arguments]
        return programs.run(command, folder=tmp_path, environment=environment, within_s=within_s)

    return run


@pytest.fixture
def tapped(gateway: Gateway) -> Iterator[Tap]:
    """A wire in front of the gateway that shows what a client really sent."""
    with tap.tapped(gateway.url) as wire:
        yield wire


@pytest.fixture(name="postgres", scope="session")
def postgres_server() -> Iterator[Postgres]:
    need("postgresql")
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    need(*browser.PEERS)
    with browser.running(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module", params=["sqlite", "postgres and redis"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One gateway on SQLite; or two on PostgreSQL, which hear of each other through Redis."""
    need(*machine.PEERS)
    folder = tmp_path_factory.mktemp("stack")
    with ExitStack() as servers:
        if request.param == "sqlite":
            count, settings = 1, {"OPSCENTER_DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}"}
        else:
            need("redis-server")
            postgres_server: Postgres = request.getfixturevalue("postgres")
            database = servers.enter_context(tunnel.database(postgres_server, "tunnel"))
            bell = servers.enter_context(redis.running())
            count = 2
            settings = {"OPSCENTER_DATABASE_URL": database, "OPSCENTER_REDIS_URL": bell.url}
        settings["OPSCENTER_MCP_LEASE_S"] = str(tunnel.LEASE_S)
        yield servers.enter_context(
            tunnel.running(folder, count=count, owners=3, settings=settings)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLiteLLM:
    """A proxy for the whole run, and the wires to its models, which end where a test wants."""

    proxy: LiteLLM
    openai: Tap
    anthropic: Tap


@pytest.fixture(scope="session")
def shared_litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedLiteLLM]:
    need("litellm")
    with (
        OpenAIServer() as meanwhile,  # at its start the proxy looks whether its models are there
        tap.tapped(meanwhile.url) as to_openai,
        tap.tapped(meanwhile.url) as to_anthropic,
        litellm.running(
            tmp_path_factory.mktemp("litellm"), openai=to_openai.url, anthropic=to_anthropic.url
        ) as proxy,
    ):
        yield SharedLiteLLM(proxy=proxy, openai=to_openai, anthropic=to_anthropic)


@pytest.fixture(name="litellm")
def litellm_proxy(
    shared_litellm: SharedLiteLLM, upstream: Upstream, openai_server: OpenAIServer
) -> LiteLLM:
    """LiteLLM's proxy in front of the scripted servers of this test."""
    shared_litellm.openai.target = address_of(openai_server.url)
    shared_litellm.anthropic.target = address_of(upstream.url)
    return shared_litellm.proxy


def address_of(url: str) -> tuple[str, int]:
    target = urlsplit(url)
    return target.hostname or "", target.port or 80
