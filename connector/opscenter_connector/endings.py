"""How the connector ends, and the exit code that says so."""

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Documented in the README; a service manager may act on them."""

    STOPPED = 0  # as asked
    FAILED = 1  # a defect of ours
    CONFIGURATION = 2  # also: the state directory is in use, or cannot be written
    CREDENTIAL = 3  # the key is wrong or has ended, lacks the scope, or is another user's
    VERSION = 4  # this connector and the gateway do not speak the same tunnel
    FENCED = 5  # another machine runs with the same instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why `program.run` returned."""

    exit_code: ExitCode
    reason: str
