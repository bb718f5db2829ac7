"""What in a text looks like a secret, and the text without it (pure).

No list of patterns knows all secrets. Too much is hidden rather than too little: a word that is
missing costs whoever reads an audit or a log a question, one that is there may cost an account.

The gateway and the connector have the same text of this file, for neither installs the other.
"""

import re
import unicodedata

HIDDEN = "[hidden]"

# Names that secrets go by: short ones only as words of their own.
_LONG = (
    r"pass(?:word|wd|phrase|code)|secret|token|api[-_ ]?key|access[-_]?key|private|credential"
    r"|cookie|session|signature|auth(?!ors?\b)|connection[-_]?string"
)
_SHORT = r"(?<![a-z0-9])(?:key|pass|pwd|pw|pin|otp|sig|sid|jwt|dsn|bearer)(?![a-z0-9])"
_NAME = re.compile(f"{_LONG}|{_SHORT}", re.IGNORECASE)
_FLAGS = re.IGNORECASE | re.DOTALL

# Each in its turn. What `kept` holds says what was hidden, and stays.
_PATTERNS = (
    # A whole key, and what comes after it.
    re.compile(r"(?P<kept>-----BEGIN [A-Z ]*PRIVATE KEY)[^\w].*", _FLAGS),
    re.compile(
        r"(?P<kept>\b(?:echo|printf)\s+)[^|\n]{1,400}(?=\|[^\n]{0,200}(?:pass|login|token|secret))",
        _FLAGS,
    ),
    re.compile(
        r"(?P<kept>(?:authorization|cookie|\bx-[\w-]{0,40}?(?:key|token|auth)) ?: *)[^\r\n\"']+",
        _FLAGS,
    ),
    # Assigned in a shell, a URL, a file of settings or JSON, also in JSON within JSON.
    re.compile(
        rf"(?P<kept>(?:{_LONG}|{_SHORT})[\w-]{{0,24}}\\*[\"']?\s{{0,4}}(?:=>|:=|[:=])\s{{0,4}})"
        r"(?:(?P<quote>\\*[\"']).*?(?:(?P=quote)|\Z)|\S+)",
        _FLAGS,
    ),
    # After a flag, or as in .netrc.
    re.compile(r"(?P<kept>\b(?:pass(?:word|wd|phrase)|token|secret|api[-_]?key)[ \t]+)\S+", _FLAGS),
    re.compile(r"(?P<kept>\b(?:bearer|basic)\s+)\S+", _FLAGS),
    re.compile(r"(?P<kept>:/{1,2})[^/\s@]+(?=@)", _FLAGS),  # who, with which password
    re.compile(r"(?P<kept>\s(?:-u|--(?:proxy-)?user)[= ]?)\S+:\S+", _FLAGS),
    re.compile(
        r"(?P<kept>\b(?:mysql\w*|mariadb\w*|mongo\w*|sshpass|redis-cli|login)\b[^|;&\n]{0,200}?"
        r"\s-[pa]\s?)\S+",
        _FLAGS,
    ),
    re.compile(
        r"(?P<kept>\b(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/)\S+", _FLAGS
    ),
    # By their own look.
    re.compile(
        r"(?P<kept>)\b(?:(?:sk|pk|rk|whsec|ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[a-z]|xapp|npm"
        r"|pypi|hf|dop_v1|GOCSPX|age-secret-key|vault|hvs|shpat|dckr_pat|lin_api|sntrys)[-_]"
        r"|AKIA|ASIA|AIza|ya29\.|SG\.)[-_A-Za-z0-9.]{8,}",
        _FLAGS,
    ),
    re.compile(r"(?P<kept>)\beyJ[\w-]+\.[\w-]+\.[\w-]*", _FLAGS),  # a JWT
    # Letters of both sizes and digits, long, in one: nobody's word.
    re.compile(
        r"(?P<kept>)\b(?=[\w+=-]{0,80}\d)(?=[\w+=-]{0,80}[a-z])(?=[\w+=-]{0,80}[A-Z])[\w+=-]{24,}"
    ),
)


def is_name(name: str) -> bool:
    """Whether what goes by that name is nobody's business."""
    return _NAME.search(name) is not None


def hidden(text: str) -> str:
    """The text without what looks like a secret."""
    bare = "".join(one for one in text if unicodedata.category(one) != "Cf")
    if bare != text and (found := _hidden(bare)) != bare:
        return found  # signs that nobody sees stood in it
    return _hidden(text)


def _hidden(text: str) -> str:
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<kept>{HIDDEN}", text)
    return text
