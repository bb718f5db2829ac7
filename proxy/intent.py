"""What kind of work a person asks for, and which of their words say so (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CODE_GENERATION = "code_generation"
CODE_REVIEW = "code_review"
DEBUGGING = "debugging"
SYSTEM_DESIGN = "system_design"
DOCUMENTATION = "documentation"
GENERAL = "general"

TASK_TYPES = (
    CODE_GENERATION,
    CODE_REVIEW,
    DEBUGGING,
    SYSTEM_DESIGN,
    DOCUMENTATION,
    GENERAL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A type of task, how sure that is (0 to 1), and what it was inferred from."""

    task_type: str
    confidence: float
    words: tuple[str, ...] = ()
    why: str = ""


def inferred(messages: Sequence[Any], sticky: str = "") -> Inference:
    """What the last words of the human ask for. `sticky`: what the session was about before."""
    return Inference(task_type=sticky or GENERAL, confidence=0.0, why="Nothing said so.")
