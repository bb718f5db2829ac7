"""A plugin for pytest, for a run on another database: `-p tests.only_tables`.

It leaves out the tests that reach no table of the run. pytest-django lets such a test reach none,
so it would say again what it has just said on SQLite; the pure ones and their files of cases are
two thirds of the suite.
"""

import pytest

REACH = {"db", "transactional_db", "django_db_setup"}  # one who only starts a gateway asks the last


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not _reaches_tables(item)])
    items[:] = filter(_reaches_tables, items)


def _reaches_tables(item: pytest.Item) -> bool:
    if item.get_closest_marker("django_db"):
        return True
    return isinstance(item, pytest.Function) and not REACH.isdisjoint(item.fixturenames)
