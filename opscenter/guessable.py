"""Secrets that somebody would guess before long (pure)."""

SECRET_CHARS = 32  # below this a secret can be guessed from its signature
DIFFERENT_CHARS = 8  # thirty-two times the same letter is no secret
_EXAMPLES = ("changeme", "change-me", "change_me", "django-insecure", "your-secret", "your_secret")
# What guides write, ours too, and what images come with. Longer ones are somebody's own.
_WELL_KNOWN = frozenset(
    [
        *["password", "passw0rd", "password1", "password123", "pass", "passwd", "pwd", "secret"],
        *["postgres", "postgresql", "postgrespw", "mysecretpassword", "redis", "foobared"],
        *["admin", "administrator", "root", "toor", "user", "guest", "test", "demo", "example"],
        *["opscenter", "ops-center", "ops_center", "the-same", "letmein", "default", "qwerty"],
        *["1234", "12345", "123456", "1234567", "12345678", "123456789", "1234567890"],
    ]
)
# Who speaks to these is on this machine already. An empty one is a socket in its file system.
_HERE = frozenset({"", "localhost", "127.0.0.1", "::1"})


def is_guessable(secret: str) -> bool:
    """Whether a secret of enough characters is an example, or hardly more than one letter."""
    return len(set(secret)) < DIFFERENT_CHARS or _is_example(secret)


def is_example_password(password: str, user: str, host: str) -> bool:
    """Whether whoever reaches `host` gets in there by trying what everybody tries.

    Other passwords are the database's own affair: it may bound guesses, and it may be old.
    """
    if not password or host.lower() in _HERE or host.startswith("/"):
        return False
    return password.lower() in {*_WELL_KNOWN, user.lower()} or _is_example(password)


def _is_example(value: str) -> bool:
    return any(word in value.lower() for word in _EXAMPLES)
