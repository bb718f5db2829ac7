"""An ordinary user. Without `make real` a layer that is missing is a skip, with it a failure."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.arena import Arena, arena
from tests.sandbox.person import NobodyError, Person, ordinary

FIRST_UID = 61_000  # of nobody: so the bound of processes counts only what these tests start
LAYERS = ("bubblewrap", "landlock")


@pytest.fixture(scope="session")
def person() -> Iterator[Person]:
    try:
        with ordinary(FIRST_UID + os.getpid() % 3000) as one:
            yield one
    except NobodyError as error:
        _or_not(str(error))


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest, person: Person) -> str:
    """Both that are proven. Whether they are there is asked of the sandbox itself."""
    found: str = request.param
    _or_not(missing_layer(person, found))
    return found


def _or_not(missing: str) -> None:
    if missing and os.environ.get("OPSCENTER_REAL"):  # noqa: TID251 - said by `make real`
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@pytest.fixture
def bubblewrapped(person: Person) -> None:
    """For what only layer A promises."""
    _or_not(missing_layer(person, "bubblewrap"))


_missing: dict[str, str] = {}


def missing_layer(person: Person, layer: str) -> str:
    if layer not in _missing:
        answer = person.ask(op="survey", roots=[], forced=layer)
        _missing[layer] = answer.get("refused", "")
    return _missing[layer]


@pytest.fixture
def here(person: Person) -> Iterator[Arena]:
    with arena(person.uid) as one:
        yield one


@pytest.fixture
def folder(here: Arena) -> Path:
    """An allowed folder with a git repository in it."""
    return here.workspace
