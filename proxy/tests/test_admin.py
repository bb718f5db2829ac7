"""The admin pages about upstreams and routes."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from opscenter import env
from proxy.models import Route, Upstream

UPSTREAMS = "/admin/proxy/upstream/"
ROUTES = "/admin/proxy/route/"
HTML = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


@pytest.fixture
def operator(db: None) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def upstream(db: None) -> Upstream:
    return Upstream.objects.create(name="demo", kind=Upstream.Kind.DEMO)


def staff(*permissions: str) -> Client:
    """The browser of somebody who may sign in to the admin, and do just this there."""
    user = User.objects.create_user("dora", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def add_rows(count: int) -> None:
    first = Upstream.objects.count()
    for number in range(first, first + count):
        upstream = Upstream.objects.create(name=f"u{number}", kind="demo")
        Route.objects.bulk_create(
            Route(pattern=f"{number}-{route}", upstream=upstream) for route in range(3)
        )


def upstream_form(*routes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    form = {
        "name": "gpu-box",
        "kind": "anthropic",
        "base_url": "http://127.0.0.1:8000",
        "credential_variable": "GPU_BOX_KEY",
        "credential_header": "authorization",
        "enabled": "on",
        "routes-TOTAL_FORMS": len(routes),
        "routes-INITIAL_FORMS": 0,
    }
    for number, route in enumerate(routes):
        form |= {f"routes-{number}-{name}": value for name, value in route.items()}
    return form | fields


@pytest.mark.parametrize(
    ("page", "queries"),
    [(UPSTREAMS, 5), (ROUTES, 6), (UPSTREAMS + "add/", 3), (ROUTES + "add/", 3)],
)
def test_it_asks_as_often_for_many_rows_as_for_few(
    operator: Client, page: str, queries: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(page)  # Django looks content types up once per process
    for _ in range(2):
        add_rows(10)
        with django_assert_num_queries(queries):
            assert operator.get(page).status_code == 200


def test_it_asks_as_often_for_an_upstream_of_many_routes(
    operator: Client, upstream: Upstream, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    page = f"{UPSTREAMS}{upstream.pk}/change/"
    operator.get(page)
    for size in (1, 20):
        names = [f"{size}-{number}" for number in range(size)]
        Route.objects.bulk_create(Route(pattern=name, upstream=upstream) for name in names)
        with django_assert_num_queries(5):
            assert operator.get(page).status_code == 200


def test_it_makes_an_upstream_with_its_routes_on_one_page(operator: Client) -> None:
    route = {"pattern": "qwen*", "position": 5, "weight": 2, "target_model": "qwen3:8b"}
    answer = operator.post(UPSTREAMS + "add/", upstream_form(route))
    assert answer.status_code == 302
    made = Route.objects.select_related("upstream").get()
    assert (made.pattern, made.position, made.weight) == ("qwen*", 5, 2)
    assert (made.target_model, made.enabled) == ("qwen3:8b", False)
    assert (made.upstream.name, made.upstream.credential_header) == ("gpu-box", "authorization")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": "two words"}),
        ("kind", {"kind": "telepathy"}),
        ("base_url", {"base_url": "gpu-box:8000"}),
        ("base_url", {"base_url": "javascript:alert(1)"}),
        ("base_url", {"base_url": ""}),
        ("base_url", {"base_url": "http://gpu-box:8000/v1"}),
        ("base_url", {"base_url": "http://me:secret@gpu-box:8000"}),
        ("base_url", {"base_url": "http://127.0.0.1:8084/"}),  # the gateway itself
        ("credential_variable", {"credential_variable": "sk-ant-api03-abc"}),
        ("credential_variable", {"credential_variable": "OPSCENTER_SECRET_KEY"}),
    ],
)
def test_it_names_what_is_wrong_with_an_upstream(
    operator: Client, field: str, fields: dict[str, str]
) -> None:
    page = operator.post(UPSTREAMS + "add/", upstream_form(**fields))
    assert page.status_code == 200
    errors = page.context["adminform"].form.errors
    assert field in errors
    assert not Upstream.objects.exists()


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.anthropic.com",
        "http://localhost:4000",
        "http://litellm:4000",  # a name inside a compose network has no dot
        "http://ollama.internal:11434/prefix",
        "http://[::1]:8000",
        "http://10.0.0.7:8000",
    ],
)
def test_it_takes_the_addresses_that_machines_have(operator: Client, base_url: str) -> None:
    answer = operator.post(UPSTREAMS + "add/", upstream_form(base_url=base_url))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert Upstream.objects.get().base_url == base_url


def test_it_says_when_the_variable_it_names_is_not_set(operator: Client) -> None:
    form = upstream_form(credential_variable="NOT_SET_ANYWHERE")
    page = operator.post(UPSTREAMS + "add/", form, follow=True)
    assert "NOT_SET_ANYWHERE is not set" in page.content.decode()
    assert Upstream.objects.get().credential_variable == "NOT_SET_ANYWHERE"


def test_it_refuses_a_second_route_for_the_same_name_and_upstream(
    operator: Client, upstream: Upstream
) -> None:
    Route.objects.create(pattern="same", upstream=upstream)
    form = {"pattern": "same", "position": 1, "weight": 1, "upstream": upstream.pk}
    page = operator.post(ROUTES + "add/", form | {"lifecycle": "active"})
    assert page.status_code == 200
    assert "There is such a route already." in str(page.context["adminform"].form.errors)
    assert Route.objects.count() == 1


def test_it_refuses_the_same_route_twice_on_one_page(operator: Client) -> None:
    route = {"pattern": "same", "position": 5, "weight": 1}
    page = operator.post(UPSTREAMS + "add/", upstream_form(route, route))
    assert page.status_code == 200
    [formset] = page.context["inline_admin_formsets"]
    assert formset.formset.errors == [{}, {"pattern": ["This route stands here twice."]}]
    assert not Upstream.objects.exists()
    other = route | {"target_model": "other"}
    assert operator.post(UPSTREAMS + "add/", upstream_form(route, other)).status_code == 302


def test_it_changes_order_and_switch_in_the_list(operator: Client, upstream: Upstream) -> None:
    route = Route.objects.create(pattern="a", upstream=upstream, position=7)
    form = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": route.pk,
        "form-0-position": 3,
        "form-0-weight": 9,
        "_save": "Save",
    }
    assert operator.post(ROUTES, form).status_code == 302
    route.refresh_from_db()
    assert (route.position, route.weight, route.enabled) == (3, 9, False)


@pytest.mark.parametrize("term", ["qwen3", "8b", "Our model", "QWEN"])
def test_it_finds_a_route_by_its_names(operator: Client, upstream: Upstream, term: str) -> None:
    Route.objects.create(pattern="other", upstream=upstream)
    wanted = Route.objects.create(
        pattern="qwen3", upstream=upstream, target_model="qwen3:8b", display_name="Our model"
    )
    page = operator.get(ROUTES, {"q": term})
    assert list(page.context["cl"].queryset) == [wanted]


def test_it_shows_names_as_text(operator: Client, upstream: Upstream) -> None:
    route = Route.objects.create(
        pattern=HTML, upstream=upstream, target_model=HTML, display_name=HTML
    )
    for url in (
        ROUTES,
        f"{ROUTES}{route.pk}/change/",
        f"{ROUTES}{route.pk}/delete/",
        f"{UPSTREAMS}{upstream.pk}/change/",
        f"{ROUTES}?q={HTML}",
    ):
        page = operator.get(url).content.decode()
        assert HTML not in page
        assert ESCAPED in page


def test_it_never_shows_what_is_in_the_variable(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setitem(env._ENVIRONMENT, "GPU_BOX_KEY", "the-secret-itself")
    operator.post(UPSTREAMS + "add/", upstream_form())
    [made] = Upstream.objects.all()
    for url in (UPSTREAMS, f"{UPSTREAMS}{made.pk}/change/"):
        page = operator.get(url).content.decode()
        assert "GPU_BOX_KEY" in page
        assert "the-secret-itself" not in page


@pytest.mark.parametrize("model", ["upstream", "route"])
def test_it_refuses_staff_without_permission(upstream: Upstream, model: str) -> None:
    Route.objects.create(pattern="a", upstream=upstream)
    client = staff("view_user")
    row = Upstream.objects.get() if model == "upstream" else Route.objects.get()
    pages = [reverse(f"admin:proxy_{model}_{page}") for page in ("changelist", "add")]
    pages += [
        reverse(f"admin:proxy_{model}_{page}", args=[row.pk]) for page in ("change", "delete")
    ]
    assert [client.get(page).status_code for page in pages] == [403] * 4
    assert [client.post(page, upstream_form()).status_code for page in pages] == [403] * 4
    assert (Upstream.objects.count(), Route.objects.count()) == (1, 1)


def test_it_lets_staff_who_may_look_only_look(upstream: Upstream) -> None:
    client = staff("view_upstream")
    page = f"{UPSTREAMS}{upstream.pk}/change/"
    assert (client.get(UPSTREAMS).status_code, client.get(page).status_code) == (200, 200)
    assert client.post(page, upstream_form()).status_code == 403
    assert client.get(ROUTES).status_code == 403
    assert Upstream.objects.get() == upstream


@pytest.mark.django_db
@pytest.mark.parametrize("page", [UPSTREAMS, ROUTES])
def test_it_asks_strangers_to_sign_in(client: Client, page: str) -> None:
    answer = client.get(page)
    assert (answer.status_code, answer["location"]) == (302, f"/admin/login/?next={page}")
