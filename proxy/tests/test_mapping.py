"""A file of model names becomes routes."""

import json
from typing import Any

import pytest

from accounts.models import AuditEntry
from proxy import mapping
from proxy.mapping import MappingError
from proxy.models import Route, Upstream


@pytest.fixture
def litellm(db: None) -> Upstream:
    return Upstream.objects.create(name="litellm", kind="compatible", base_url="http://litellm")


@pytest.fixture
def backup(db: None) -> Upstream:
    return Upstream.objects.create(name="backup", kind="openai", base_url="http://backup")


def imported(value: Any, upstream: str = "litellm", *, dry_run: bool = False) -> list[str]:
    """What became of each entry."""
    text = json.dumps(value).encode()
    return [change.what for change in mapping.imported(text, upstream, "system", dry_run=dry_run)]


def routes() -> list[tuple[str, str, str, int]]:
    rows = Route.objects.order_by("pattern", "position")
    return list(rows.values_list("pattern", "upstream__name", "target_model", "position"))


def problems(text: bytes, upstream: str = "litellm") -> list[str]:
    with pytest.raises(MappingError) as refused:
        mapping.imported(text, upstream, "system")
    return refused.value.problems


GUIDE = {
    "model_mapping": {
        "claude-3-5-sonnet-20241022": "gpt-4",
        "claude-3-opus-20240229": "openai/gpt-4-turbo",
    }
}


@pytest.mark.parametrize("value", [GUIDE, GUIDE["model_mapping"]])
def test_it_takes_the_guides_file_with_and_without_its_frame(litellm: Upstream, value: Any) -> None:
    assert imported(value) == ["created", "created"]
    assert routes() == [
        ("claude-3-5-sonnet-20241022", "litellm", "gpt-4", 100),
        ("claude-3-opus-20240229", "litellm", "openai/gpt-4-turbo", 100),
    ]


def test_it_changes_nothing_the_second_time(litellm: Upstream) -> None:
    imported(GUIDE)
    lines = AuditEntry.objects.count()
    before = routes()
    assert imported(GUIDE) == ["unchanged", "unchanged"]
    assert (routes(), AuditEntry.objects.count()) == (before, lines)


def test_it_updates_in_place_and_leaves_the_rest_alone(litellm: Upstream, backup: Upstream) -> None:
    imported({"a": "old", "b": "kept"})
    Route.objects.filter(pattern="a").update(weight=7, display_name="Ours")
    Route.objects.create(pattern="a", upstream=backup)
    assert imported({"a": "new"}) == ["changed"]
    changed = Route.objects.get(pattern="a", upstream=litellm)
    assert (changed.target_model, changed.weight, changed.display_name) == ("new", 7, "Ours")
    assert Route.objects.count() == 3
    line = AuditEntry.objects.latest("id")
    assert line.details["changed"] == {"target_model": ["old", "new"]}


def test_it_makes_a_chain_in_its_order(litellm: Upstream, backup: Upstream) -> None:
    chain = ["first", {"upstream": "backup", "model": "second"}, {"upstream": "backup"}]
    assert imported({"m": chain}) == ["created"] * 3
    assert routes() == [
        ("m", "litellm", "first", 100),
        ("m", "backup", "second", 110),
        ("m", "backup", "", 120),
    ]
    assert imported({"m": chain}) == ["unchanged"] * 3


def test_it_turns_a_chain_round_without_colliding(litellm: Upstream) -> None:
    imported({"m": ["x", "y"]})
    assert imported({"m": ["y", "x"]}) == ["changed", "changed"]
    assert [(target, position) for _, _, target, position in routes()] == [("y", 100), ("x", 110)]


def test_it_takes_all_that_an_object_may_say(litellm: Upstream) -> None:
    told = {"display_name": "Ours", "description": "For code.", "position": 5, "weight": 9}
    imported({"m": {"model": "qwen3", **told}})
    row = Route.objects.get()
    assert {name: getattr(row, name) for name in told} == told


def test_it_writes_nothing_when_it_only_tries(litellm: Upstream) -> None:
    assert imported({"m": "x"}, dry_run=True) == ["created"]
    assert not Route.objects.exists()
    assert not AuditEntry.objects.exists()


def test_it_names_every_problem_with_its_key(litellm: Upstream) -> None:
    value = {
        "": "x",
        "a": 7,
        "b": "",
        "c": [],
        "d": {"modell": "x"},
        "e": {"weight": "2"},
        "f": {"position": True},
        "g": ["x", None],
        "h": ["x", "x"],
        "i" * 257: "x",
        "j\n": "x",
        "k": {"model": "a\nb"},
        "l": ["x"] * 21,
        "m": {"weight": 10**30},
        "n": {"upstream": "nobody"},
        "o": {"weight": 0},
        "fine": "x",
    }
    found = problems(json.dumps(value).encode())
    keys = ["", "a", "b", "c", "d", "e", "f", "g", "i" * 60, "j\n", "k", "l", "m", "h", "n", "o"]
    assert [text.split(": ")[0] for text in found] == [repr(key) for key in keys]
    assert "there is no 'modell'; the fields are upstream, model" in found[4]
    assert "weight must be a whole number" in found[5]
    assert "x at litellm stands there 2 times" in found[-3]
    assert not Route.objects.exists()


def test_it_wants_an_upstream_for_each(litellm: Upstream) -> None:
    [text] = problems(b'{"a": "x", "b": {"upstream": "litellm"}}', upstream="")
    assert text == "'a': no upstream is named: say --upstream, or name one in the file."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "not JSON"),
        (b"{\n'a': 1}", "not JSON: Expecting property name"),
        (b"{\n'a': 1}", "double quotes, line 2, column 1."),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "must be an object"),
        (b'{"model_mapping": []}', "must be an object"),
        (b'{"model_mapping": {}, "agent_config": {}}', "'agent_config': only model_mapping"),
        (b'{"a": "x", "a": "y"}', "'a': it stands there twice"),
        (b'{"a": {"model": "x", "model": "y"}}', "'model': it stands there twice"),
        (b" " * (mapping.MAX_BYTES + 1), "larger than"),
    ],
)
def test_it_says_what_is_wrong_with_the_file(text: bytes, says: str) -> None:
    [problem] = problems(text)
    assert says in problem


def test_it_refuses_more_routes_than_anybody_can_look_through() -> None:
    many = {str(number): "x" for number in range(mapping.MAX_ROUTES + 1)}
    [text] = problems(json.dumps(many).encode())
    assert "more than 5000" in text


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"upstream": "nobody"}, "'bad': 'nobody': there is no such upstream; there are: litellm."),
        ({"weight": 0}, "'bad': weight: "),
        ({"weight": 1001}, "'bad': weight: "),
        ({"position": -1}, "'bad': position: "),
        ({"model": "m" * 257}, "'bad': target_model: "),
        ({"model": "gpt-*"}, "'bad': target_model: A * stands for nothing here"),
        ({"description": "d" * 501}, "'bad': description: "),
    ],
)
def test_it_leaves_nothing_half_written(litellm: Upstream, entry: Any, says: str) -> None:
    with pytest.raises(MappingError) as refused:
        imported({"good": "x", "bad": entry})
    assert refused.value.problems[0].startswith(says)
    assert not Route.objects.exists()
