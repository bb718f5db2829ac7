"""What an upstream's address, variable, headers and certificates must look like."""

import math
import re
import ssl
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

from proxy import aliases, declared
from proxy.intent import TASK_TYPES


def http_address(value: str) -> None:
    """Refuse what is no address of a server that /v1/messages can be appended to."""
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.query or parts.fragment or parts.username or not value.isprintable():
        raise ValidationError("Enter an http:// or https:// address, without user or query.")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValidationError("Leave out /v1: it is added to every request.")


def variable_name(value: str) -> None:
    """Refuse what is no name of a variable that may hold an upstream's credential."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is None:
        raise ValidationError(
            "Enter the name of an environment variable, not the credential itself."
        )
    if value.startswith(settings.OWN_PREFIXES):
        raise ValidationError("The gateway's own settings are given to no upstream.")


# A header name is a token (RFC 9110, 5.6.2); a value is visible ASCII with blanks between.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]{0,998}[\x21-\x7e])?")
# What the connection is made of, and what shows the credential: both have their own fields.
_OURS = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "x-api-key",
    }
)
MAX_HEADERS = 20


def extra_headers(value: Any) -> None:
    """Refuse what are no headers that may be added to every request."""
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        raise ValidationError(
            f'Enter at most {MAX_HEADERS} headers as a JSON object: {{"x-team": "research"}}'
        )
    for name, content in value.items():
        if not _TOKEN.fullmatch(name):
            raise ValidationError(f"{name[:100]!r} is no name of a header.")
        if name.lower() in _OURS:
            raise ValidationError(f"{name} is set by the gateway itself.")
        if not isinstance(content, str) or not _VALUE.fullmatch(content):
            raise ValidationError(f"The value of {name} must be plain text in one line.")


def agent_aliases(value: Any) -> None:
    """Refuse what is no table from names to Brigade's agents."""
    if problem := aliases.problem(value):
        raise ValidationError(problem)


def finite(value: float) -> None:
    """Refuse what no clock can measure; NaN would pass every bound."""
    if not math.isfinite(value):
        raise ValidationError("Enter a number.")


def certificates(value: str) -> None:
    """Refuse what is no list of CA certificates in PEM."""
    try:
        ssl.create_default_context(cadata=value)
    except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: not ASCII
        raise ValidationError("Enter one or more certificates in PEM format.") from error


CREDENTIAL_CHARS = 4096  # tokens of cloud accounts are long; a header line may be twice this


def plain_credential(value: str) -> None:
    """Refuse what no header can show as a credential. The text never holds any of it."""
    if not 0 < len(value) <= CREDENTIAL_CHARS:
        raise ValidationError(f"A credential has 1 to {CREDENTIAL_CHARS} characters.")
    if re.fullmatch(r"[\x21-\x7e]+", value) is None:
        raise ValidationError(
            "A credential has visible ASCII characters only: no blanks, no line breaks."
        )


def toolsets(value: Any) -> None:
    """Refuse what are no servers with tools, and say which of them and why."""
    try:
        declared.toolsets(value)
    except declared.BadToolsetError as error:
        raise ValidationError(str(error)) from error


def task_types(value: Any) -> None:
    """Refuse what is no list of types of tasks, each once."""
    if not isinstance(value, list) or len(set(map(str, value))) < len(value):
        raise ValidationError("Enter a list of types of tasks, each once.")
    if unknown := [str(one)[:50] for one in value if one not in TASK_TYPES]:
        raise ValidationError(f"{unknown[0]!r} is none of {', '.join(TASK_TYPES)}.")
