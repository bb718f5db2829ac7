"""A real Keycloak with the realm of deploy/keycloak, in memory, on a port of its own."""

import html
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from tests import environment
from tests.gateway import eventually, free_port
from tests.real import peers

START_S = 300  # 15 s on an idle machine, 84 s where much else runs
STOP_S = 20
REALM = "opscenter"
SECRET = "only-for-tests-" + "k" * 32
PASSWORD = "correct horse battery staple"
ADMIN = "admin-of-the-tests"
FORM = re.compile(r'<form[^>]*?action="([^"]+)"[^>]*>', re.DOTALL)
FIELD = re.compile(r'<input[^>]*?type="hidden"[^>]*?name="([^"]+)"[^>]*?value="([^"]*)"', re.DOTALL)

Json = Any


@dataclass(slots=True)
class Keycloak:
    """A running one, and what its administrator does."""

    url: str
    process: subprocess.Popen[bytes]
    people: dict[str, str] = field(default_factory=dict)  # name to id
    _token: tuple[str, float] = ("", 0.0)

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/{REALM}"

    def openid(self, path: str, **form: str) -> Json:
        """What an endpoint of the protocol answers to a form."""
        url = f"{self.issuer}/protocol/openid-connect/{path}"
        return httpx.post(url, data=form, trust_env=False, timeout=START_S).json()

    def person(self, name: str, roles: Sequence[str] = (), **attributes: list[str]) -> str:
        """A new person with these roles of our client; their id."""
        password = {"type": "password", "value": PASSWORD, "temporary": False}
        body = {
            "username": name,
            "email": f"{name}@example.org",
            "firstName": name.title(),
            "lastName": "Example",
            "enabled": True,
            "emailVerified": True,
            "attributes": attributes,
            "credentials": [password],
        }
        made = self.admin("POST", "/users", body)
        self.people[name] = made.headers["location"].rpartition("/")[2]
        self.grant(name, *roles)
        return self.people[name]

    def grant(self, name: str, *roles: str) -> None:
        """Give the person these roles of our client."""
        self.admin("POST", self._mappings(name), self._roles(roles))

    def withdraw(self, name: str, *roles: str) -> None:
        """Take these roles away."""
        self.admin("DELETE", self._mappings(name), self._roles(roles))

    def log_out(self, name: str) -> None:
        """End all sessions of the person."""
        self.admin("POST", f"/users/{self.people[name]}/logout")

    def sessions(self, name: str) -> int:
        """How many sessions the person has."""
        return len(self.admin("GET", f"/users/{self.people[name]}/sessions").json())

    def rotate(self) -> None:
        """Sign with a new key from now on; the former one is published still."""
        config = {"priority": ["200"], "algorithm": ["RS256"], "keySize": ["2048"]}
        body = {"name": "new", "providerId": "rsa-generated", "config": config}
        body["providerType"] = "org.keycloak.keys.KeyProvider"
        self.admin("POST", "/components", body)

    def freeze(self) -> None:
        """As a machine that hangs: it takes connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it hung."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a machine that loses its power: connections are refused from now on."""
        self._signal(signal.SIGKILL)
        self.process.wait(STOP_S)
        eventually(self._refuses, STOP_S)  # only the script is a child of ours

    def _refuses(self) -> bool:
        with suppress(ConnectionResetError):
            try:
                socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2]))).close()
            except ConnectionRefusedError:
                return True
        return False

    def _signal(self, number: signal.Signals) -> None:
        """To the server and to the script that started it, which would hand on few of them."""
        with suppress(ProcessLookupError):  # it has been killed
            os.killpg(self.process.pid, number)

    def admin(self, method: str, path: str, body: Json = None) -> httpx.Response:
        """What the administrator's API answers."""
        url = f"{self.url}/admin/realms/{REALM}{path}"
        headers = {"authorization": f"Bearer {self._administrator()}"}
        with httpx.Client(trust_env=False, timeout=START_S) as client:
            return client.request(method, url, json=body, headers=headers).raise_for_status()

    def _administrator(self) -> str:
        token, until = self._token
        if time.monotonic() > until:
            url = f"{self.url}/realms/master/protocol/openid-connect/token"
            form = {"grant_type": "password", "client_id": "admin-cli"}
            form |= {"username": ADMIN, "password": PASSWORD}
            found = httpx.post(url, data=form, trust_env=False, timeout=START_S).json()
            token = found["access_token"]
            self._token = token, time.monotonic() + found["expires_in"] / 2
        return token

    def _client(self) -> str:
        found: str = self.admin("GET", "/clients?clientId=ops-center").json()[0]["id"]
        return found

    def _mappings(self, name: str) -> str:
        return f"/users/{self.people[name]}/role-mappings/clients/{self._client()}"

    def _roles(self, names: Sequence[str]) -> list[Json]:
        found = self.admin("GET", f"/clients/{self._client()}/roles").json()
        return [role for role in found if role["name"] in names]


class Browser(httpx.Client):
    """Follows links and fills forms in, as a person does; its cookies are its own."""

    def __init__(self) -> None:
        super().__init__(trust_env=False, follow_redirects=True, timeout=START_S)
        self.event_hooks["response"] = [self._trust_loopback]

    def sign_in(self, url: str, name: str) -> httpx.Response:
        """Open `url`, and sign in at Keycloak where that leads."""
        page = self.get(url)
        if "/realms/" not in str(page.url):
            return page  # Keycloak still knew them
        return self.submit(page, username=name, password=PASSWORD)

    def _trust_loopback(self, _: httpx.Response) -> None:
        """To browsers it is secure without TLS, so they send such cookies there."""
        for cookie in self.cookies.jar:
            cookie.secure = False

    def submit(self, page: httpx.Response, **filled: str) -> httpx.Response:
        """Send the first form of the page."""
        found = FORM.search(page.text)
        assert found, page.text
        hidden = {name: html.unescape(value) for name, value in FIELD.findall(page.text)}
        action = urljoin(str(page.url), html.unescape(found[1]))
        return self.post(action, data=hidden | filled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where somebody has the connector, and a home."""

    program: Path
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return Path(self.environment["HOME"])

    def sign_in(self, name: str) -> None:
        """As a person does: the address that it shows is opened in a browser."""
        with self.started("login") as login:
            lines = iter(login.stderr.readline, "") if login.stderr else iter("")
            address = next(line.strip() for line in lines if "user_code=" in line)
            with Browser() as browser:
                browser.submit(browser.sign_in(address, name), accept="Yes")
            assert login.wait(START_S) == 0

    def said(self, command: str) -> str:
        """What a command prints."""
        with self.started(command) as running:
            out, err = running.communicate(timeout=START_S)
            assert running.returncode == 0, err
            return str(out).strip()

    @contextmanager
    def started(self, command: str) -> Iterator["subprocess.Popen[str]"]:
        """A command that runs, and ends with the block at the latest."""
        process = subprocess.Popen(
            [self.program, command],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.terminate()


@contextmanager
def running(gateway_url: str) -> Iterator[Keycloak]:
    """Start one whose client is the gateway at this address."""
    own = peers.unpacked(peers.named("org.keycloak:keycloak-quarkus-dist"))
    _bring_the_realm(own)
    port = free_port()
    told = {
        "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
        "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
        "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",  # it lives too briefly for more
        "KEYCLOAK_CLIENT_SECRET": SECRET,
        "EXTERNAL_API_URL": gateway_url,
        "OPSCENTER_URL": gateway_url,
    }
    command = ["sh", str(own / "bin" / "kc.sh"), "start", "--optimized", "--import-realm"]
    command += ["--http-enabled=true", "--http-host=127.0.0.1", f"--http-port={port}"]
    command += ["--hostname-strict=false"]
    log = environment.VAR / "keycloak.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment.child(**told),
            stdout=output,
            stderr=output,
            start_new_session=True,  # a group of their own, see _signal
        )
    found = Keycloak(url=f"http://127.0.0.1:{port}", process=process)
    try:
        _wait(found, log)
        yield found
    finally:
        found.thaw()
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            found.kill()


def _bring_the_realm(own: Path) -> None:
    folder = own / "data" / "import"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(environment.ROOT / "deploy" / "keycloak" / "opscenter-realm.json", folder)


def _wait(keycloak: Keycloak, log: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            httpx.get(keycloak.issuer, trust_env=False, timeout=START_S).raise_for_status()
            return
        except httpx.HTTPError:
            is_over = keycloak.process.poll() is not None or time.monotonic() > until
            assert not is_over, f"Keycloak did not start:\n{log.read_text()[-3000:]}"
            time.sleep(0.2)  # noqa: TID251  (it has no other sign of being there)
