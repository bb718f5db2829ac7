"""What of a call's arguments may stand in the audit: the beginning, without what is secret (pure).

No list of patterns knows all secrets. So nothing of a result is kept but its digest, and of the
arguments only so much as tells an operator what was wanted.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from mcp.visible import in_one_line

MAX_CHARS = 500
MAX_VALUE_CHARS = 200  # of one argument, so that a long one hides no other
MAX_DEPTH = 4
HIDDEN = "[hidden]"

_NAMES = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api.?key|auth|cookie|credential|private|signature|session",
    re.IGNORECASE,
)
_VALUES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*"  # a whole key, and what comes after it
    r"|\b(?:sk|pk|rk|ghp|gho|ghs|ghr|glpat|xox[abprs]|npm|pypi|hf|dop_v1|AKIA|ASIA|AIza)"
    r"[-_A-Za-z0-9.]{8,}"
    r"|\bgithub_pat_\w+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT
    r"|(?<=\bBearer )\S+|(?<=\bBasic )\S+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # who, and with which password, in a URL
    r"|(?<=[-_ ])(?:password|passwd|token|secret|api[-_]?key)[= ]\S+"
    r"|\b\w*(?:PASSWORD|PASSWD|TOKEN|SECRET|API_?KEY|ACCESS_KEY)\w*=\S+",
    re.DOTALL | re.IGNORECASE,
)


def of_arguments(arguments: Mapping[str, Any]) -> str:
    """The beginning of the arguments, as JSON in one line."""
    shown = json.dumps(_shown(arguments, 1), ensure_ascii=False, separators=(", ", ": "))
    return _cut(in_one_line(shown).replace("\\\\", "\\"), MAX_CHARS)


def _shown(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        # Cut first only so far that no secret is cut into one that no pattern fits.
        return _cut(_VALUES.sub(HIDDEN, value[: 8 * MAX_CHARS]), MAX_VALUE_CHARS)
    if isinstance(value, Mapping | list) and depth > MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(name)[:MAX_VALUE_CHARS]: HIDDEN
            if _NAMES.search(str(name))
            else _shown(inner, depth + 1)
            for name, inner in list(value.items())[:MAX_VALUE_CHARS]
        }
    if isinstance(value, list):
        return [_shown(inner, depth + 1) for inner in value[:MAX_VALUE_CHARS]]
    return value


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
