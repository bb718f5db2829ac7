"""People and tokens of a real Keycloak at a gateway as people run it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Group, User
from pytest_django import Settings

from accounts.models import AuditEntry, Identity, Membership
from billing.models import UsageRecord
from mcp.models import Connector
from opscenter.doctor import neighbours
from opscenter.doctor.finding import Verdict
from tests import gateway as gateways
from tests.asking import BODY
from tests.conftest import lead_to
from tests.environment import ROOT, VAR
from tests.gateway import eventually
from tests.real import keycloak as keycloaks
from tests.real import peers
from tests.real.browser import Chromium
from tests.real.conftest import Claude, need
from tests.real.keycloak import Browser, Keycloak, Machine
from tests.upstream import Upstream

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

ROTATED_S = 35  # within which a new key of the realm counts
CLI = "ops-center-cli"


@pytest.fixture(scope="module")
def port() -> int:
    return gateways.free_port()


@pytest.fixture(scope="module")
def keycloak(port: int) -> Iterator[Keycloak]:
    need("org.keycloak:keycloak-quarkus-dist", "openjdk-17-jre-headless")
    with keycloaks.running(f"http://127.0.0.1:{port}") as found:
        found.person("ada", ["staff", "operator"], organization=["acme"])
        found.person("bea", organization=["beta"], subscription_tier=["pro"])
        yield found


@pytest.fixture(scope="module")
def url(
    port: int, keycloak: Keycloak, django_db_setup: None, django_db_blocker: Any
) -> Iterator[str]:
    log = VAR / "keycloaks-gateway.log"
    log.write_bytes(b"")
    told = {
        "OPSCENTER_PORT": str(port),
        "KEYCLOAK_URL": keycloak.url,
        "KEYCLOAK_CLIENT_SECRET": keycloaks.SECRET,
        "EXTERNAL_API_URL": f"http://127.0.0.1:{port}",
    }
    with gateways.running(log, **told) as (url, _):
        yield url
    assert "Traceback" not in log.read_text(), f"the gateway's log holds a traceback: {log}"


@pytest.fixture
def ada(url: str, keycloak: Keycloak, transactional_db: None) -> Iterator[Browser]:
    """Ada's browser. She is an operator."""
    Group.objects.get_or_create(name="operator")
    with Browser() as browser:
        yield browser
    keycloak.log_out("ada")


def admin_of(url: str) -> str:
    return f"{url}/admin/"


def sign_in(browser: Browser, url: str, name: str, wanted: str = "/admin/") -> httpx.Response:
    page = browser.sign_in(f"{url}/oidc/authenticate/?next={wanted}", name)
    assert str(page.url) == f"{url}{wanted}", page.text
    return page


def test_staff_come_in_and_go(ada: Browser, url: str, keycloak: Keycloak) -> None:
    assert sign_in(ada, url, "ada").status_code == 200
    user = User.objects.get()
    assert (user.username, user.email, user.is_staff) == ("ada", "ada@example.org", True)
    assert [group.name for group in user.groups.all()] == ["operator"]
    assert Membership.objects.get().organization.external_id == "acme"
    assert Identity.objects.get().issuer == keycloak.issuer
    assert keycloak.sessions("ada") == 1
    _sign_out(ada, url)
    assert keycloak.sessions("ada") == 0
    assert "login" in str(ada.get(admin_of(url)).url)
    assert "/realms/" in str(ada.get(f"{url}/oidc/authenticate/").url)  # it asks for a password


def _sign_out(browser: Browser, url: str) -> None:
    page = browser.get(f"{url}/approvals/")
    page = browser.submit(page)
    assert str(page.url) == f"{url}/", page.text


def test_a_real_browser_comes_in_and_goes(
    chromium: Chromium, ada: Browser, url: str, keycloak: Keycloak
) -> None:
    with chromium.page() as page:
        page.open(f"{url}/sign-in/")
        page.leave("text=Sign in with Keycloak")
        assert page.url.startswith(keycloak.issuer)
        page.sign_in("ada", keycloaks.PASSWORD)
        assert page.url == f"{url}/portal/"
        page.leave("text=Sign out")
        assert page.url == f"{url}/"
    assert keycloak.sessions("ada") == 0


def test_a_role_that_is_gone_opens_nothing(ada: Browser, url: str, keycloak: Keycloak) -> None:
    sign_in(ada, url, "ada")
    keycloak.withdraw("ada", "staff", "operator")
    try:
        ada.get(f"{url}/oidc/authenticate/")  # as the renewal does; Keycloak still knows her
        user = User.objects.get()
        assert (user.is_staff, user.groups.count()) == (False, 0)
        assert "login" in str(ada.get(admin_of(url)).url)
    finally:
        keycloak.grant("ada", "staff", "operator")
    told = AuditEntry.objects.filter(action="user.granted").order_by("id")
    assert [line.details["changed"]["is_staff"][1] for line in told] == [True, False]


def test_who_is_no_staff_sees_what_is_theirs(url: str, keycloak: Keycloak, ada: Browser) -> None:
    with Browser() as bea:
        assert "Approvals" in sign_in(bea, url, "bea", "/approvals/").text
        assert "login" in str(bea.get(admin_of(url)).url)
        assert not User.objects.get().is_staff


def test_keycloak_ends_what_is_here(ada: Browser, url: str, keycloak: Keycloak) -> None:
    sign_in(ada, url, "ada")
    keycloak.log_out("ada")
    assert "login" in str(eventually(lambda: _refused(ada, url)).url)


def _refused(browser: Browser, url: str) -> httpx.Response | None:
    page = browser.get(admin_of(url))
    return page if "login" in str(page.url) else None


def tokens_of(keycloak: Keycloak, name: str, scope: str = "openid") -> dict[str, Any]:
    """What a machine gets on which `name` says yes in a browser (RFC 8628)."""
    begun = keycloak.openid("auth/device", client_id=CLI, scope=scope)
    with Browser() as browser:
        page = browser.sign_in(begun["verification_uri_complete"], name)
        page = browser.submit(page, accept="Yes")
        assert "Device Login Successful" in page.text, page.text
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    found: dict[str, Any] = keycloak.openid(
        "token", client_id=CLI, grant_type=grant, device_code=begun["device_code"]
    )
    return found


def ask(url: str, token: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", "x-api-key": token}
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.post(f"{url}/v1/messages", json=BODY, headers=headers)


def keys_at(url: str, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.get(f"{url}/api/v1/api-keys", headers=headers, trust_env=False).status_code


def test_an_access_token_opens_what_a_key_does(ada: Browser, url: str, keycloak: Keycloak) -> None:
    found = tokens_of(keycloak, "bea", "openid offline_access")
    answer = ask(url, found["access_token"])
    assert answer.status_code == 404, answer.text  # no route leads anywhere
    assert keys_at(url, found["access_token"]) == 200
    assert Membership.objects.get().organization.external_id == "beta"
    for other in ("id_token", "refresh_token"):
        refused = ask(url, found[other])
        assert (refused.status_code, refused.json()["error"]["type"]) == (
            401,
            "authentication_error",
        )
        assert keys_at(url, found[other]) == 401
    again = keycloak.openid(
        "token",
        client_id=CLI,
        grant_type="refresh_token",
        refresh_token=found["refresh_token"],
    )
    assert keys_at(url, again["access_token"]) == 200


@pytest.fixture
def machine(tmp_path: Path, url: str) -> Machine:
    """A machine on which Bea has signed in."""
    need("opscenter-connector")
    program = peers.environment_of(peers.named("opscenter-connector")) / "bin" / "ops-connector"
    own = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "MCP_API_URL": url, "NO_COLOR": "1"}
    found = Machine(program=program, environment=own)
    found.sign_in("bea")
    return found


def test_a_machine_signs_in_with_a_browser(
    ada: Browser, url: str, keycloak: Keycloak, machine: Machine
) -> None:
    login = machine.home / ".config" / "opscenter-connector" / "login.json"
    assert login.stat().st_mode & 0o777 == 0o600
    first = machine.said("token")
    assert keys_at(url, first) == 200
    assert machine.said("token") == first  # good for a while yet
    kept = json.loads(login.read_text())
    login.write_text(json.dumps(kept | {"expires_at": 0}))
    assert machine.said("token") != first
    machine.said("logout")
    with pytest.raises(AssertionError, match="ops-connector login"):
        machine.said("token")


def test_a_signed_in_machine_is_connected(
    ada: Browser, url: str, keycloak: Keycloak, machine: Machine
) -> None:
    with machine.started("run") as run:
        connector = eventually(lambda: Connector.objects.filter(closed_at=None).first(), 30)
        assert connector.user.username == "bea"
        run.terminate()


def test_claude_code_asks_its_helper(
    ada: Browser, url: str, keycloak: Keycloak, machine: Machine, claude: Claude
) -> None:
    said = " ".join(f"{name}={value}" for name, value in machine.environment.items())
    settings = claude.home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"apiKeyHelper": f"{said} {machine.program} token"}))
    with Upstream() as upstream:
        lead_to(upstream.url)
        finished = claude("say hello", url=url)
        assert finished.code == 0, finished
        assert upstream.faults == []
    row = eventually(lambda: UsageRecord.objects.exclude(closed_at=None).first())
    assert row.user_id == User.objects.get(username="bea").pk


def test_a_new_key_of_the_realm_counts_soon(ada: Browser, url: str, keycloak: Keycloak) -> None:
    former = tokens_of(keycloak, "bea")
    assert keys_at(url, former["access_token"]) == 200
    keycloak.rotate()
    begun = time.monotonic()
    renewed = keycloak.openid(
        "token",
        client_id=CLI,
        grant_type="refresh_token",
        refresh_token=former["refresh_token"],
    )["access_token"]
    assert _kid(renewed) != _kid(former["access_token"])
    eventually(lambda: keys_at(url, renewed) == 200, within_s=2 * ROTATED_S)
    assert time.monotonic() - begun < ROTATED_S
    assert keys_at(url, former["access_token"]) == 200


def _kid(token: str) -> str:
    return token.partition(".")[0]


def test_keycloak_may_hang(ada: Browser, url: str, keycloak: Keycloak) -> None:
    sign_in(ada, url, "ada")
    token = tokens_of(keycloak, "bea")["access_token"]
    assert keys_at(url, token) == 200
    keycloak.freeze()
    try:
        assert keys_at(url, token) == 200
        assert ada.get(admin_of(url)).status_code == 200
    finally:
        keycloak.thaw()


def test_the_realm_tells_nobody_a_password(tmp_path: Path) -> None:
    realm = (ROOT / "deploy" / "keycloak" / "opscenter-realm.json").read_text()
    assert '"users"' not in realm
    assert '"secret": "${KEYCLOAK_CLIENT_SECRET}"' in realm


def test_the_doctor_tells_a_wrong_secret_from_a_right_one(
    keycloak: Keycloak, settings: Settings
) -> None:
    settings.OIDC_ISSUERS = {keycloak.issuer: f"{keycloak.issuer}/protocol/openid-connect/certs"}
    settings.OIDC_OP_TOKEN_ENDPOINT = f"{keycloak.issuer}/protocol/openid-connect/token"
    settings.OIDC_CALLBACK_URL = "http://127.0.0.1:8084/oidc/callback/"
    settings.OIDC_RP_CLIENT_SECRET = keycloaks.SECRET
    assert neighbours.keycloak().verdict is Verdict.OK
    settings.OIDC_RP_CLIENT_SECRET = "w" + keycloaks.SECRET
    assert "It refuses KEYCLOAK_CLIENT_ID or its secret" in neighbours.keycloak().text
