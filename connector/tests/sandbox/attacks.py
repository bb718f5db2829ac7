"""The table of attacks: what a hostile command tries, and how one sees whether it came through.

$A is the arena (see arena.py). A row says which layers let it through as documented; none is let
through by bubblewrap.
"""

from dataclasses import dataclass

CANARY = "CANARY_7f3a"
LANDLOCK = "landlock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """It came through if one of these is so."""

    id: str
    what: str
    command: str
    says: str = ""  # in the output
    changes: str = ""  # a file outside is not as it was
    makes: str = ""  # a file is there
    plants: str = ""  # a file is there that a person's programs would obey
    reaches: str = ""  # a socket of the arena was spoken to
    leaves: str = ""  # a process with this in its command line is alive
    kills: bool = False  # the bystander is dead
    within_s: float = 10.0
    bare: bool = True  # it comes through without a sandbox
    gaps: frozenset[str] = frozenset()
