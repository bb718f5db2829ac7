"""A full disk under the gateway: its database and its log have no room, and then some again.

What cannot be written down is refused, with a way out; nothing of what was answered is missing, and
no disk is needed to say so. The disk is a small one in memory, in a namespace of the gateway's own,
so that anybody may run this.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests import gateway as gateways
from tests.gateway import eventually
from tests.real import tunnel
from tests.real.site import AWAY, BODY, are_settled
from tests.upstream import Upstream

pytestmark = pytest.mark.real

DISK_BYTES = 24 * 1024 * 1024
MOST_ASKED = 3000  # the log of transactions has room left; each request takes a few pages of it
HEALTHY_S = 60
# It mounts the disk, puts what was made before on it, and becomes the gateway.
ON_A_SMALL_DISK = f"""
mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && cp "$0.full/"* "$0" && exec "$@" 2>>"$0/log"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A gateway, and its disk as it sees it."""

    client: httpx.Client
    disk: Path
    served: list[str]

    def ask(self) -> httpx.Response:
        answer = self.client.post("/v1/messages", json=BODY)
        if answer.status_code == 200:
            self.served.append(answer.headers["request-id"])
        return answer

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.disk / "ballast").open("wb", buffering=0) as ballast:
            piece = 1024 * 1024
            while piece:
                try:
                    ballast.write(b"\0" * piece)
                except OSError:
                    piece //= 2

    def empty(self) -> None:
        (self.disk / "ballast").unlink()

    def health(self) -> str:
        answer = httpx.get(self.client.base_url.join("/v1/health"), trust_env=False, timeout=60)
        found: str = answer.json()["database"]
        return found


@pytest.fixture
def site(upstream: Upstream, tmp_path: Path) -> Iterator[Site]:
    made, disk = tmp_path / "disk.full", tmp_path / "disk"
    made.mkdir()
    disk.mkdir()
    url = f"sqlite:///{made / 'db.sqlite3'}"
    settings = {"DJANGO_SETTINGS_MODULE": "opscenter.settings", "OPSCENTER_DATABASE_URL": url}
    (owner,) = tunnel.seeded(settings, 1, upstream.url)
    by = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, str(disk))
    more = {"OPSCENTER_DATABASE_URL": f"sqlite:///{disk / 'db.sqlite3'}"}
    with (
        gateways.running(tmp_path / "log", by=by, **more) as (address, process),
        httpx.Client(
            base_url=address,
            headers={"authorization": f"Bearer {owner.key}"},
            timeout=60,
            trust_env=False,
        ) as client,
    ):
        seen = Path(f"/proc/{process.pid}/root/{disk}")
        yield Site(client=client, disk=seen, served=[])


def test_it_refuses_while_there_is_no_room_and_recovers(site: Site, tmp_path: Path) -> None:
    assert site.ask().status_code == 200
    room = os.statvfs(site.disk)
    assert room.f_blocks * room.f_frsize == DISK_BYTES, "it is not on the small disk"
    site.fill()
    answers = [site.ask()]
    while answers[-1].status_code == 200:
        assert len(answers) < MOST_ASKED
        answers.append(site.ask())
    refused = [site.ask() for _ in range(20)]
    assert {one.status_code for one in refused} == {AWAY}
    assert all(int(one.headers["retry-after"]) > 0 for one in refused)
    assert site.client.get("/healthz").status_code == 200
    eventually(lambda: site.health() == "read-only", within_s=HEALTHY_S)
    site.empty()

    began = time.monotonic()
    eventually(lambda: site.ask().status_code == 200, within_s=HEALTHY_S)
    back = time.monotonic() - began
    eventually(lambda: site.health() == "ok", within_s=HEALTHY_S)
    assert {site.ask().status_code for _ in range(20)} == {200}
    eventually(lambda: _is_settled(site, tmp_path), within_s=HEALTHY_S)
    said = (site.disk / "log").read_text()
    assert "Traceback" not in said
    told = f"{len(site.served)} served, {len(refused)} refused; back after {back:.1f} s"
    print(f"\n{told}; {len(said.splitlines())} lines in the log")  # noqa: T201


def _is_settled(site: Site, folder: Path) -> bool:
    """Each answer has its row, and none is open.

    Looked for in a copy: SQLite would follow the way into the other namespace by our own names.
    """
    for name in ("db.sqlite3", "db.sqlite3-wal"):
        (folder / name).write_bytes((site.disk / name).read_bytes())
    with closing(sqlite3.connect(folder / "db.sqlite3")) as connection:
        rows = connection.execute("SELECT id, state FROM billing_usagerecord").fetchall()
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
    assert sound == "ok"
    return are_settled({f"req_{row}": state for row, state in rows}, site.served)
