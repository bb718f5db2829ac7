"""A gateway on a database of its own, with a line between the two that can be broken."""

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from tests import gateway as gateways
from tests.faults import FaultProxy, between
from tests.gateway import eventually
from tests.real import postgres as postgreses
from tests.real import tunnel
from tests.real.postgres import Postgres
from tests.upstream import Upstream

BACK_S = 60  # whatever comes back is back by then, on a busy machine too
HUNG_S = 60  # nothing may take as long
AWAY = 529  # what is said while the database is away
ASKERS = 12
ROUNDS = 3
QUESTION = {"role": "user", "content": "Hello"}
BODY = {"model": "claude-opus-5-5", "max_tokens": 20, "messages": [QUESTION]}
MEMORY_S = "1"  # what is in memory is old soon: every request needs the database


@dataclass(slots=True, kw_only=True)
class Site:
    """What runs, and who asks."""

    client: httpx.Client
    database: Postgres
    line: FaultProxy
    upstream: Upstream
    log: Path
    served: list[str] = field(default_factory=list)  # the ids of what was answered

    def url(self, path: str) -> str:
        return str(self.client.base_url.join(path))

    def ask(self) -> httpx.Response:
        """One request, in one piece."""
        return self.heard(self.client.post("/v1/messages", json=BODY))

    def heard(self, answer: httpx.Response) -> httpx.Response:
        """Remember the answer, if it was one."""
        if answer.status_code == 200:
            self.served.append(answer.headers["request-id"])
        return answer

    def ask_at_once(self) -> tuple[list[httpx.Response], float]:
        """What many are told, and how long the last of them waits."""

        def one(_: int) -> tuple[httpx.Response, float]:
            began = time.monotonic()
            return self.ask(), time.monotonic() - began

        with ThreadPoolExecutor(ASKERS) as pool:
            found = list(pool.map(one, range(ASKERS * ROUNDS)))
        return [answer for answer, _ in found], max(took for _, took in found)

    def wait_until(self, status: int) -> float:
        """Ask until the answer has this status; how long that took."""
        began = time.monotonic()
        eventually(lambda: self.ask().status_code == status, within_s=BACK_S)
        return time.monotonic() - began

    def wait_until_settled(self) -> None:
        """Each answer has its row, and none is open."""
        eventually(self._is_settled, within_s=BACK_S)

    def _is_settled(self) -> bool:
        with psycopg.connect(self.database.url) as connection:
            rows = connection.execute("SELECT id, state FROM billing_usagerecord").fetchall()
        states = {f"req_{row.hex}": state for row, state in rows}
        return are_settled(states, self.served)


def are_settled(states: Mapping[str, str], served: Iterable[str]) -> bool:
    """Each answer has its row and no other row says that there was one; none is open.

    Who was refused may have one that says so: it was on its way and could not be called back.
    """
    well = {request_id for request_id, state in states.items() if state == "completed"}
    return well == set(served) and set(states.values()) <= {"completed", "failed"}


@contextmanager
def running(folder: Path, *, connections: int = 200, **settings: str) -> Iterator[Site]:
    """Start everything, on a server that takes so many connections."""
    log = folder / "log"
    with Upstream() as upstream, postgreses.running(connections=connections) as database:
        place = {"OPSCENTER_DATABASE_URL": database.url}
        seeding = {"DJANGO_SETTINGS_MODULE": "opscenter.settings", **place}
        (owner,) = tunnel.seeded(seeding, 1, upstream.url)
        with between(f"http://{database.host}:{database.port}") as line:
            url = database.url.replace(f":{database.port}/", f":{line.port}/")
            more = {"OPSCENTER_DATABASE_URL": url, "OPSCENTER_MEMORY_TTL_S": MEMORY_S, **settings}
            with (
                gateways.running(log, **more) as (address, _),
                httpx.Client(
                    base_url=address,
                    headers={"authorization": f"Bearer {owner.key}"},
                    timeout=HUNG_S,
                    trust_env=False,
                ) as client,
            ):
                yield Site(client=client, database=database, line=line, upstream=upstream, log=log)
    assert upstream.faults == []
