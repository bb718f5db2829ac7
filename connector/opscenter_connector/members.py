"""The members of a frame, each checked to be of the type that it says."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

MAX_NUMBER = 2**63  # longer ones break whoever counts with them

Values = Mapping[Any, Callable[[Any], Any]]  # by type: what checks a value of it


def made(kind: Any, said: Any, values: Values) -> Any:
    """One `kind` from an object. Raises ValueError that names what is missing or wrong."""
    name_of_kind = kind.__name__.lower()
    if not isinstance(said, dict):
        raise ValueError(f"{name_of_kind} must be an object")
    known = {member.name: member for member in fields(kind)}
    try:
        return kind(
            **{name: values[known[name].type](said[name]) for name in known if name in said}
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name_of_kind}: {error}") from error


def _is(*kinds: type) -> Callable[[Any], Any]:
    def value(said: Any) -> Any:
        if not isinstance(said, kinds) or (isinstance(said, bool) and bool not in kinds):
            raise TypeError(f"{said!r:.40} is not of type {kinds[0].__name__}")
        if isinstance(said, int) and abs(said) >= MAX_NUMBER:
            raise ValueError("a number of more than 64 bits")
        return said

    return value


def held(said: Any) -> tuple[tuple[str, int], ...]:
    """Id and fence of each of some calls."""
    return tuple((_text(id_), _number(fence)) for id_, fence in _list(said))


_text, _number, _list = _is(str), _is(int), _is(list)
VALUES: Values = {
    str: _text,
    int: _number,
    bool: _is(bool),
    float: _is(float, int),
    str | None: _is(str, type(None)),
    int | None: _is(int, type(None)),
    float | None: _is(float, int, type(None)),
    dict[str, Any]: _is(dict),
    dict[str, Any] | None: _is(dict, type(None)),
    tuple[str, ...]: lambda said: tuple(_text(one) for one in _list(said)),
    tuple[dict[str, Any], ...]: lambda said: tuple(_is(dict)(one) for one in _list(said)),
}
