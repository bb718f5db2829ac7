"""What a command says when its database does not let it go on: a sentence, not a traceback."""

from django.db import Error, InterfaceError, OperationalError, connection

from accounts import tables
from accounts.redaction import redacted

MOST_CHARS = 300  # of what a driver says; PostgreSQL's go over several lines
WHERE = "See OPSCENTER_DATABASE_URL (for SQLite also OPSCENTER_VAR_DIR), and `manage.py doctor`"


def said_of(error: Error) -> str | None:
    """The sentence; None for what is a defect of ours, of which only a traceback tells."""
    connection.close()  # it may be in the middle of what has failed
    try:
        lacking = tables.lacking()
    except Error as unusable:
        return f"the database: {_words(unusable)}. {WHERE}."
    if lacking and _misses_a_table(error):
        return f"the database lacks {lacking} migrations of this release: run `manage.py migrate`."
    if isinstance(error, OperationalError | InterfaceError):
        return f"the database: {_words(error)}. {WHERE}."
    return None


def _misses_a_table(error: Error) -> bool:
    said = str(error)
    return "no such " in said or "does not exist" in said or "has no column" in said


def _words(error: Error) -> str:
    """What the driver says, in a line."""
    return redacted(" ".join(str(error).split()))[:MOST_CHARS].rstrip(". ")
