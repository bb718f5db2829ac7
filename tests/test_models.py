"""GET /v1/models: what is served here, in pages as the SDKs walk them."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from accounts.principal import CALLBACK, KEYS_WRITE, MESSAGES, USAGE_READ
from accounts.tests.people import Person
from proxy.catalog import KNOWN
from proxy.models import Route, Upstream
from tests.conftest import lead_to
from tests.gateway import Gateway

# What the SDKs' types read. A key more would be dropped, a key less breaks the strict ones.
KEYS = {
    "id": str,
    "type": str,
    "display_name": str,
    "created_at": str,
    "lifecycle": str,
    "line": (str, type(None)),
    "max_input_tokens": (int, type(None)),
    "max_tokens": (int, type(None)),
    "deprecated_at": (str, type(None)),
    "retires_at": (str, type(None)),
    "capabilities": (dict, type(None)),
}
LINES = {"haiku", "sonnet", "opus", "fable", "mythos", None}
IDS = [f"model-{number}" for number in range(7)]

Page = list[str]


@pytest.fixture
def seven(client: httpx.Client) -> Iterator[httpx.Client]:
    """A client of a gateway that serves seven models and no others."""
    Route.objects.all().delete()
    upstream = Upstream.objects.get()
    Route.objects.bulk_create(
        Route(pattern=name, upstream=upstream, position=position)
        for position, name in enumerate(IDS)
    )
    yield client


def ids(client: httpx.Client, path: str = "/v1/models") -> list[str]:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return [model["id"] for model in response.json()["data"]]


def refused(response: httpx.Response) -> tuple[int, str, str]:
    """Status, error type and message of an error in the API's shape."""
    body = response.json()
    assert body["type"] == "error"
    assert body["request_id"] == response.headers["request-id"]
    return response.status_code, body["error"]["type"], body["error"]["message"]


def test_it_lists_the_names_that_claude_code_asks_for_by_itself(client: httpx.Client) -> None:
    body = client.get("/v1/models?limit=1000").json()
    assert [model["id"] for model in body["data"]] == list(KNOWN)
    assert (body["has_more"], body["first_id"], body["last_id"]) == (
        False,
        "claude-opus-5-5",
        "claude-sonnet-5",
    )
    assert set(body) == {"data", "has_more", "first_id", "last_id"}


def test_it_describes_every_model_with_the_keys_of_the_strict_types(client: httpx.Client) -> None:
    lead_to(Upstream.objects.get().base_url, pattern="qwen3:8b", position=1)
    listed = client.get("/v1/models").json()["data"]
    assert len(listed) == len(KNOWN) + 1
    for model in listed:
        assert set(model) == set(KEYS)
        assert all(isinstance(model[key], kinds) for key, kinds in KEYS.items())  # type: ignore[arg-type]  # types and tuples of types, both are meant
        assert (model["type"], model["lifecycle"]) == ("model", "active")
        assert model["line"] in LINES
        assert model["created_at"].endswith("Z")
        assert client.get(f"/v1/models/{model['id']}").json() == model


def test_it_shows_what_the_operator_calls_a_model(client: httpx.Client) -> None:
    upstream = Upstream.objects.get()
    Route.objects.create(
        pattern="claude-team", upstream=upstream, display_name="Our <Team>", position=1
    )
    Route.objects.create(pattern="qwen3:8b", upstream=upstream, position=2)
    names = {m["id"]: m["display_name"] for m in client.get("/v1/models").json()["data"]}
    assert names["claude-team"] == "Our <Team>"
    assert names["qwen3:8b"] == "qwen3:8b"
    assert names["claude-opus-5-5"] == "Claude Opus 5.5"


def test_it_takes_the_display_name_of_the_route_that_answers(client: httpx.Client) -> None:
    first = Upstream.objects.get()
    second = Upstream.objects.create(name="second", kind="anthropic", base_url=first.base_url)
    for position, upstream in enumerate([first, second], 1):
        Route.objects.create(
            pattern="shared", upstream=upstream, position=position, display_name=upstream.name
        )
    assert client.get("/v1/models/shared").json()["display_name"] == "scripted"


def test_it_hides_what_is_switched_off(client: httpx.Client) -> None:
    Route.objects.all().delete()
    on = Upstream.objects.get()
    off = Upstream.objects.create(name="off", kind="demo", enabled=False)
    Route.objects.create(pattern="shown", upstream=on)
    Route.objects.create(pattern="route-off", upstream=on, enabled=False)
    Route.objects.create(pattern="upstream-off", upstream=off)
    assert ids(client) == ["shown"]
    for name in ("route-off", "upstream-off"):
        assert client.get(f"/v1/models/{name}").status_code == 404


def test_it_says_an_empty_list_where_nothing_is_served(client: httpx.Client) -> None:
    Route.objects.all().delete()
    empty = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert client.get("/v1/models").json() == empty


def walked(
    client: httpx.Client, limit: int, first: str, following: str, **asked: str
) -> list[Page]:
    """The pages as an SDK asks for them: on from `first` of each, as long as there is more."""
    pages: list[Page] = []
    while len(pages) < len(IDS):  # a bound: a walk that does not end is the bug looked for
        page = client.get("/v1/models", params={"limit": str(limit)} | asked).json()
        pages.append([model["id"] for model in page["data"]])
        if not page["has_more"] or not page[first]:
            break
        asked = {following: page[first]}
    return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 1000])
def test_it_is_walked_forward_by_after_id(seven: httpx.Client, limit: int) -> None:
    pages = walked(seven, limit, "last_id", "after_id")
    assert pages == [IDS[start : start + limit] for start in range(0, len(IDS), limit)]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 1000])
def test_it_is_walked_backward_by_before_id(seven: httpx.Client, limit: int) -> None:
    pages = walked(seven, limit, "first_id", "before_id", before_id=IDS[-1])
    before = IDS[:-1]
    assert pages == [before[max(0, end - limit) : end] for end in range(len(before), 0, -limit)]


def test_it_gives_an_empty_page_before_the_first_and_after_the_last(seven: httpx.Client) -> None:
    empty = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert seven.get(f"/v1/models?before_id={IDS[0]}").json() == empty
    assert seven.get(f"/v1/models?after_id={IDS[-1]}").json() == empty


def test_it_gives_twenty_models_unless_asked_for_more(seven: httpx.Client) -> None:
    upstream = Upstream.objects.get()
    Route.objects.bulk_create(
        Route(pattern=f"more-{number}", upstream=upstream, position=100) for number in range(20)
    )
    first = seven.get("/v1/models").json()
    assert (len(first["data"]), first["has_more"]) == (20, True)
    assert len(seven.get("/v1/models?limit=27").json()["data"]) == 27


@pytest.mark.parametrize(
    "limit", ["0", "1001", "-1", "x", "", "1.5", "9" * 5000, "1e3", "%00", "+1", "٣", "true"]
)
def test_it_refuses_a_limit_that_is_none(client: httpx.Client, limit: str) -> None:
    status, kind, text = refused(client.get(f"/v1/models?limit={quote(limit, safe='%')}"))
    assert (status, kind) == (400, "invalid_request_error")
    assert text.startswith("limit: ")
    assert len(text) < 200


@pytest.mark.parametrize(
    ("limit", "count"), [("3", 3), ("003", 3), ("000000003", 3), ("000012", 7)]
)
def test_it_reads_a_limit_with_leading_zeros_as_the_number_it_is(
    seven: httpx.Client, limit: str, count: int
) -> None:
    assert ids(seven, f"/v1/models?limit={limit}") == IDS[:count]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1/v1/models", "/v1/v1/models/"])
def test_it_lists_under_every_path_that_people_configure(client: httpx.Client, path: str) -> None:
    assert ids(client, path) == list(KNOWN)
    one = client.get(f"{path.rstrip('/')}/claude-opus-5-5{'/' if path.endswith('/') else ''}")
    assert (one.status_code, one.json()["id"]) == (200, "claude-opus-5-5")


@pytest.mark.parametrize(
    "name",
    [
        "bedrock/anthropic.claude-y",
        "a/b/c",
        "qwen3:8b",
        "größe",
        "with space",
        "what?",
        "half#way",
        "50%",
        "a+b",
        "x%2Fy",
        "😀",
        "a;b=c",
        "x" * 256,
    ],
)
def test_it_finds_a_model_however_odd_its_name_is(client: httpx.Client, name: str) -> None:
    lead_to(Upstream.objects.get().base_url, pattern=name, position=1)
    assert ids(client)[0] == name
    for spelled in {quote(name, safe=""), quote(name, safe="/:")}:
        response = client.get(f"/v1/models/{spelled}")
        assert (response.status_code, response.json()["id"]) == (200, name)


@pytest.mark.parametrize(
    "name",
    ["gpt-4", "CLAUDE-OPUS-5-5", "*", "claude-opus-5-5/x", "%00", "%0A", "%FF", "..%2F", "x" * 300],
)
def test_it_says_404_in_the_apis_words_for_an_unknown_model(
    client: httpx.Client, name: str
) -> None:
    status, kind, text = refused(client.get(f"/v1/models/{name}"))
    assert (status, kind) == (404, "not_found_error")
    assert text


def test_it_needs_a_key(gateway: Gateway) -> None:
    for path in ("/v1/models", "/v1/models/claude-opus-5-5", "/v1/v1/models"):
        response = httpx.get(f"{gateway.url}{path}", trust_env=False)
        assert refused(response)[:2] == (401, "authentication_error")
        assert response.headers["x-should-retry"] == "false"


def test_it_needs_a_key_made_for_messages(gateway: Gateway, alice: Person) -> None:
    _, other = alice.key("tunnel", [CALLBACK, USAGE_READ, KEYS_WRITE])
    for path in ("/v1/models", "/v1/models/claude-opus-5-5"):
        response = httpx.get(gateway.url + path, headers={"x-api-key": other}, trust_env=False)
        status, kind, text = refused(response)
        assert (status, kind) == (403, "permission_error")
        assert response.headers["x-should-retry"] == "false"
        assert MESSAGES in text
        assert all(scope in text for scope in (MESSAGES, CALLBACK, USAGE_READ, KEYS_WRITE))


def test_it_answers_head_like_get_without_a_body(client: httpx.Client) -> None:
    for path in ("/v1/models", "/v1/models/claude-opus-5-5"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(get.content))
        assert head.headers["content-type"] == get.headers["content-type"] == "application/json"
    assert client.head("/v1/models/unknown").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_changes_nothing_by_another_method(client: httpx.Client, method: str) -> None:
    status, kind, text = refused(client.request(method, "/v1/models", json={}))
    assert (status, kind) == (405, "invalid_request_error")
    assert method in text
