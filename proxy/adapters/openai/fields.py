"""Reading a client's body field by field, with errors that name the field."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from proxy.wire.body import BodyError

MAX_NAMED_DEPTH = 4  # how many steps an error's path may have; `messages.3.content.0` is enough
_SPARE_LEVELS = 20  # a translated body is nested a little deeper than the one it was made from


def an_object(value: Any, at: str) -> Mapping[str, Any]:
    """`value` if it is an object. Raises BodyError naming `at`."""
    if not isinstance(value, Mapping):
        raise BodyError(f"{at}: Input should be a valid dictionary")
    return value


def a_list(value: Any, at: str) -> Sequence[Any]:
    """`value` if it is a list. Raises BodyError naming `at`."""
    if not isinstance(value, list):
        raise BodyError(f"{at}: Input should be a valid list")
    return value


def a_string(value: Any, at: str) -> str:
    """`value` if it is a string. Raises BodyError naming `at`."""
    if not isinstance(value, str):
        raise BodyError(f"{at}: Input should be a valid string")
    return value


def required(thing: Mapping[str, Any], name: str, at: str) -> Any:
    """The field `name` of the object at `at`. Raises BodyError if it is missing."""
    if name not in thing:
        raise BodyError(f"{at}.{name}: Field required")
    return thing[name]


def string_of(thing: Mapping[str, Any], name: str, at: str) -> str:
    """The string that the object at `at` must have under `name`."""
    return a_string(required(thing, name, at), f"{at}.{name}")


def name_of(thing: Mapping[str, Any], name: str, at: str) -> str:
    """The same for a string that must not be empty."""
    value = string_of(thing, name, at)
    if not value:
        raise BodyError(f"{at}.{name}: String should have at least 1 character")
    return value


def optional_string(thing: Mapping[str, Any], name: str, at: str) -> str:
    """The string under `name`, empty where there is none."""
    value = thing.get(name)
    return "" if value is None else a_string(value, f"{at}.{name}")


def optional_object(thing: Mapping[str, Any], name: str, at: str = "") -> Mapping[str, Any]:
    """The object under `name`, empty where there is none."""
    value = thing.get(name)
    return {} if value is None else an_object(value, f"{at}.{name}" if at else name)


def as_json(value: Any) -> str:
    """`value` as compact JSON."""
    return msgspec.json.encode(value).decode()


def check_writable(body: Mapping[str, Any]) -> None:
    """Raise BodyError, naming the field, for a value that could not be written as JSON again."""
    for name, value in body.items():
        problem = _problem(value)
        if problem:
            raise BodyError(f"{_place(value, name)}: {problem}")


def _problem(value: Any) -> str:
    for _ in range(_SPARE_LEVELS):
        value = [value]
    try:
        msgspec.json.encode(value)
    except RecursionError:
        return "Input is nested too deeply"
    except UnicodeEncodeError:
        return "Input should be valid Unicode, without lone surrogates"
    return ""


def _place(value: Any, at: str) -> str:
    """The path of the first thing in `value` that is a problem, as far as a path may go."""
    for _ in range(MAX_NAMED_DEPTH - 1):
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, part in () if isinstance(value, str) else parts:
            if _problem(part):
                value, at = part, f"{at}.{name}"
                break
        else:
            break
    return at
