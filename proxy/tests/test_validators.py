"""What the fields of an upstream take."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from proxy.validators import (
    CREDENTIAL_CHARS,
    certificates,
    extra_headers,
    http_address,
    plain_credential,
    variable_name,
)

GOOD: list[tuple[Callable[[Any], None], Any]] = [
    (http_address, "https://api.anthropic.com"),
    (http_address, "http://litellm:4000/prefix/"),
    (http_address, "http://[::1]:8000"),
    (variable_name, "_KEY2"),
    (variable_name, "ANTHROPIC_API_KEY"),
    (extra_headers, {}),
    (extra_headers, {"x-team": "research", "OpenAI-Organization": "org 1"}),
    (plain_credential, "sk-ant-api03-a.b/c=+~!"),
    (plain_credential, "k" * CREDENTIAL_CHARS),
]


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_it_takes_what_is_right(check: Callable[[Any], None], value: Any) -> None:
    check(value)


BAD: list[tuple[Callable[[Any], None], Any, str]] = [
    (http_address, "gpu-box:8000", "Enter an http"),
    (http_address, "http://", "Enter an http"),
    (http_address, "http://[::1", "Enter an http"),
    (http_address, "http://a:0", "Enter an http"),
    (http_address, "http://a:99999", "Enter an http"),
    (http_address, "http://a/?x=1", "without user or query"),
    (http_address, "http://me@a", "without user or query"),
    (http_address, "http://a\nb", "Enter an http"),
    (http_address, "http://a/v1/", "Leave out /v1"),
    (variable_name, "sk-ant-api03", "not the credential itself"),
    (variable_name, "KEY\n", "not the credential itself"),
    (variable_name, "OPSCENTER_KEY_PEPPER", "given to no upstream"),
    (variable_name, "DATABASE_URL", "given to no upstream"),
    (extra_headers, [], "as a JSON object"),
    (extra_headers, {f"x-{n}": "a" for n in range(21)}, "at most 20"),
    (extra_headers, {"a b": "x"}, "no name of a header"),
    (extra_headers, {"": "x"}, "no name of a header"),
    (extra_headers, {"Authorization": "x"}, "set by the gateway"),
    (extra_headers, {"HOST": "x"}, "set by the gateway"),
    (extra_headers, {"x-a": "b\r\nhost: c"}, "plain text in one line"),
    (extra_headers, {"x-a": 7}, "plain text in one line"),
    (extra_headers, {"x-a": ""}, "plain text in one line"),
    (certificates, "no certificate", "PEM"),
    (certificates, "é", "PEM"),
    (plain_credential, "", "1 to 4096"),
    (plain_credential, "k" * (CREDENTIAL_CHARS + 1), "1 to 4096"),
    (plain_credential, "two words", "visible ASCII"),
    (plain_credential, "line\n", "visible ASCII"),
    (plain_credential, "schlüssel", "visible ASCII"),
]


@pytest.mark.parametrize(("check", "value", "says"), BAD)
def test_it_says_what_is_wrong(check: Callable[[Any], None], value: Any, says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check(value)
    assert says in refused.value.messages[0]


def test_it_repeats_no_credential() -> None:
    with pytest.raises(ValidationError) as refused:
        plain_credential("my secret words")
    assert "secret" not in str(refused.value)
