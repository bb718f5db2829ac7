"""What the tests of the tunnel against real peers share: gateways on one database, and callers."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests import gateway
from tests.real import chaos_processes as processes
from tests.real import road
from tests.real.chaos_processes import Worker
from tests.real.machine import Machine, Owner
from tests.real.postgres import Postgres
from tests.real.road import Road

ASK_S = 60  # more than any call of these tests takes
LEASE_S = 3  # so that a machine that fell silent is given up within the patience of a test
MIB = 1024 * 1024
FINAL = {"succeeded", "failed", "cancelled", "expired", "lost"}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Gateways of one installation, the road to the first of them, and who uses it."""

    settings: Mapping[str, str]
    workers: list[Worker]
    road: Road
    owners: list[Owner]

    def caller(self, owner: Owner) -> "Caller":
        """Who asks the last of the gateways: with two, never that of the machine."""
        return Caller(self.workers[-1].url, owner)


@contextmanager
def running(
    folder: Path, *, count: int, owners: int, settings: Mapping[str, str], upstream: str = ""
) -> Iterator[Stack]:
    """Fill the empty database that `settings` name, and start so many gateways on it.

    Every model leads to the `upstream`, if there is one.
    """
    settings = {
        "DJANGO_SETTINGS_MODULE": "opscenter.settings",
        "OPSCENTER_VAR_DIR": str(folder),
        **settings,
    }
    made = seeded(settings, owners, *([upstream] if upstream else []))
    with ExitStack() as running:
        workers = [Worker(number, settings, folder) for number in range(count)]
        for worker in workers:
            running.callback(worker.program.end)
        for worker in workers:
            worker.program.start()
        for worker in workers:
            worker.wait_until_it_listens()
        yield Stack(
            settings=settings,
            workers=workers,
            road=running.enter_context(road.opened([workers[0].url])),
            owners=made,
        )


def seeded(settings: Mapping[str, str], owners: int, *upstream_url: str) -> list[Owner]:
    """Fill the empty database that `settings` name; who may use it, and the upstream if any."""
    asked = ("-m", "tests.real.tunnel_seed", str(owners), *upstream_url)
    made = processes.command(*asked, settings=settings)
    assert made.returncode == 0, made.stdout + made.stderr
    return [Owner(**one) for one in json.loads(made.stdout)]


class Caller:
    """Runs tools over HTTP, with the key of their machine's owner."""

    def __init__(self, url: str, owner: Owner) -> None:
        self._client = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {owner.key}"},
            timeout=ASK_S,
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **query: str) -> Json:
        """What a page says."""
        return _body(self._client.get(f"/api/mcp/{path}", params=query))

    def run(self, server: str, tool: str, arguments: Json, **more: Any) -> Json:
        """Run a tool and wait for its end."""
        asked = {"server": server, "tool": tool, "arguments": arguments, **more}
        return _body(self._client.post("/api/mcp/execute", json=asked))

    def submit(self, server: str, tool: str, arguments: Json, **more: Any) -> str:
        """Put a call into the queue; its id."""
        return str(self.run(server, tool, arguments, wait=False, **more)["call_id"])

    def look(self, call_id: str) -> Json:
        """The call as it is now."""
        return self.get(f"calls/{call_id}")

    def cancel(self, call_id: str) -> Json:
        """Ask it to stop."""
        return _body(self._client.post(f"/api/mcp/calls/{call_id}/cancel"))

    def end(self, call_id: str, within_s: float = ASK_S) -> Json:
        """The call, once it is final."""

        def ended() -> Json | None:
            call = self.look(call_id)
            return call if call["state"] in FINAL else None

        return gateway.eventually(ended, within_s)


@contextmanager
def database(postgres: Postgres, name: str) -> Iterator[str]:
    """A database of its own on the server of the run."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres.url.rpartition("/")[0] + f"/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def wait_until_offered(caller: Caller, machine: Machine) -> None:
    """The gateway knows all servers of the machine, and that they work."""

    def offered() -> bool:
        found = caller.get("servers/me")["servers"]
        active = {one["name"] for one in found if one["status"] == "active"}
        return active >= set(machine.servers)

    machine.until(offered)


def text_of(call: Json) -> str:
    """What the tool said."""
    return str(call["result"]["content"][0]["text"])


def _body(answer: httpx.Response) -> Json:
    assert answer.is_success, f"{answer.status_code}: {answer.text}"
    found: Json = answer.json()
    return found
