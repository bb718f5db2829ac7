"""The first page, and the two questions that Claude Code asks at its start."""

import re
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client, override_settings

HERE = settings.EXTERNAL_API_URL
ADDRESS = re.compile(r"(?:https?:)?//[^\s\"'<>)]+")


@pytest.fixture
def page(client: Client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_shows_the_three_lines_for_claude_code(page: str) -> None:
    text = re.sub(r"<[^>]+>", "", page)
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("export ")]
    assert lines == [
        f"export ANTHROPIC_BASE_URL={HERE}",
        "export ANTHROPIC_AUTH_TOKEN=sk-uc-your-key",
        "export ANTHROPIC_MODEL=claude-opus-5-5",
    ]


@override_settings(EXTERNAL_API_URL="https://gateway.example.com")
def test_it_shows_the_address_that_people_reach_it_by(client: Client) -> None:
    assert b"ANTHROPIC_BASE_URL=https://gateway.example.com\n" in client.get("/").content


def test_it_leads_to_the_pages_for_people_and_to_the_health_page(page: str) -> None:
    found = re.findall(r'<a href="([^"]+)"', page)
    assert found == ["/portal/", "/portal/", "/admin/", "/v1/health"]


def test_it_asks_no_other_host_for_anything(client: Client, page: str) -> None:
    found = {f"{u.scheme}://{u.netloc}" for u in map(urlsplit, ADDRESS.findall(page))}
    assert found == {HERE}
    assert not re.search(r"<(script|img|iframe|object|embed)\b|@import|url\(", page)
    assert client.get("/")["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", ["/", "/api/hello"])
def test_it_answers_a_client_that_asks_whether_anybody_is_there(client: Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/api/hello"])
def test_it_takes_nothing_there(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


def test_it_reads_no_table_for_the_first_page(client: Client) -> None:
    # Without a database mark a query fails: the page works while the database is away.
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/mcp/", "/api/mcp/nothing", "/api/v1/no/"])
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_it_says_in_json_that_a_path_below_api_is_not_there(path: str, method: str) -> None:
    answer = getattr(Client(enforce_csrf_checks=True), method)(path)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    assert "/api/docs" in answer.json()["detail"]


def test_it_shows_a_page_where_another_path_is_not_there(client: Client) -> None:
    for path in ("/nothing", "/apiary"):
        answer = client.get(path)
        assert (answer.status_code, answer["Content-Type"][:9]) == (404, "text/html"), path


def test_it_tells_programs_who_signs_people_in(client: Client) -> None:
    where = "/.well-known/oauth-protected-resource"
    said = client.get(where).json()
    assert said["authorization_servers"] == [settings.OIDC_ISSUER]
    assert said["opscenter_client_id"] == "ops-center-cli"
    with override_settings(OIDC_ISSUER=""):
        refused = client.get(where)
    assert (refused.status_code, "API keys alone" in refused.json()["detail"]) == (404, True)
