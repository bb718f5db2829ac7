"""Which model names a pattern means."""

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from billing.patterns import matches


@given(st.text(max_size=8))
def test_it_takes_everything_but_the_star_literally(model: str) -> None:
    assert matches("*", model)
    assert matches(model, model)
    assert matches("a.c", model) == (model == "a.c")


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_it_means_by_a_star_what_a_shell_does(pattern: str, model: str) -> None:
    assert matches(pattern, model) == fnmatchcase(model, pattern)


def test_it_decides_soon_whatever_the_pattern() -> None:
    assert not matches("*a" * 100 + "b", "a" * 256)
