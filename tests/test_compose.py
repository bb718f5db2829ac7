"""compose.yaml: nothing in it is out of date, open to the world, or without a bound."""

import re
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

from tests.environment import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("opscenter")}
ALONE = "ops-center-direct"
ONCE = "migrate"  # and then it is done
by_service = pytest.mark.parametrize("name", SERVICES)
SECRET = re.compile(r"PASSWORD|SECRET|PEPPER|_KEYS?$")


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def test_alone_it_is_small() -> None:
    assert {name for name, one in SERVICES.items() if "profiles" not in one} == {ALONE, ONCE}


@by_service
def test_each_has_bounds_and_comes_back(name: str) -> None:
    one = SERVICES[name]
    assert one["restart"] == ("no" if name == ONCE else "unless-stopped")
    assert one["mem_limit"] and one["logging"]["options"]["max-size"]
    # The gateway's stands in its Dockerfile.
    assert "healthcheck" in one or name == ALONE
    assert "no-new-privileges:true" in one["security_opt"]
    assert not re.search(r":latest$", one["image"]) or name in OURS


@pytest.mark.parametrize("name", OURS)
def test_ours_get_the_time_to_end_their_streams(name: str) -> None:
    assert seconds(OURS[name]["stop_grace_period"]) >= settings.DRAIN_S + 5


@pytest.mark.parametrize("name", OURS)
def test_ours_work_on_one_database_whichever_it_is(name: str) -> None:
    assert OURS[name]["volumes"] == ["opscenter:/app/var"]
    assert OURS[name]["environment"] == OURS[ALONE]["environment"]


@pytest.mark.parametrize("name", OURS.keys() - {ONCE})
def test_ours_wait_for_the_tables_and_do_not_make_them(name: str) -> None:
    assert OURS[name]["depends_on"] == {ONCE: {"condition": "service_completed_successfully"}}
    assert OURS[name]["command"][:2] == ["python", "manage.py"]
    assert "migrate" not in OURS[name]["command"]


def test_the_tables_wait_for_postgres_where_there_is_one() -> None:
    """Without `required: false` the profile would be needed."""
    wanted = {"condition": "service_healthy", "required": False}
    assert OURS[ONCE]["depends_on"] == {"postgres": wanted}
    assert OURS[ONCE]["command"] == ["python", "manage.py", "migrate", "--noinput"]


@pytest.mark.parametrize("name", OURS)
def test_ours_start_commands_that_there_are(name: str) -> None:
    _, _, command, *options = OURS[name]["command"]
    made = load_command_class(get_commands()[command], command)
    made.create_parser("manage.py", command).parse_args(options)


def test_what_needs_lago_starts_only_with_it() -> None:
    assert SERVICES["exporter"]["profiles"] == ["lago"]


@by_service
def test_only_the_proxy_is_open_to_the_world(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert name == "traefik" or all(port.startswith("127.0.0.1:") for port in ports)


@by_service
def test_no_secret_stands_in_it(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(variable):
            assert re.fullmatch(r"\$\{\w+(:-|:\?[^}]*)?\}", value), variable


@by_service
def test_what_it_mounts_is_there(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source = mount.partition(":")[0]
        if source.startswith("./"):
            assert (ROOT / source).exists(), mount
        elif not source.startswith("/"):
            assert source in COMPOSE["volumes"], mount


@pytest.mark.parametrize("name", OURS)
def test_it_names_settings_that_there_are(name: str) -> None:
    known = (ROOT / "docs" / "settings.md").read_text()
    for variable in OURS[name]["environment"]:
        assert f"`{variable}`" in known, variable


def test_the_realm_is_imported_with_all_that_it_asks_for() -> None:
    realm = (ROOT / "deploy" / "keycloak" / "opscenter-realm.json").read_text()
    given = SERVICES["keycloak"]["environment"]
    asked = set(re.findall(r"\$\{([A-Z_]+)\}", realm))
    assert asked and asked <= given.keys()
    assert "--import-realm" in SERVICES["keycloak"]["command"]
    assert any(mount.endswith("/data/import:ro") for mount in SERVICES["keycloak"]["volumes"])
