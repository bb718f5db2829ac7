"""What kind of work a person asks for, and which of their words say so (pure).

Words are weighed by what they are: a verb at the beginning of a sentence asks for something, a noun
may be about anything. What a person says not to do does not count. Of equal weights the type that
comes first in TASK_TYPES is taken, for whoever finds a fault and wants code wants the fault gone.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy import cues, spoken
from proxy.cues import (
    CODE_GENERATION,
    CODE_REVIEW,
    DEBUGGING,
    DOCUMENTATION,
    GENERAL,
    SYSTEM_DESIGN,
)

TASK_TYPES = (
    DEBUGGING,
    CODE_REVIEW,
    SYSTEM_DESIGN,
    DOCUMENTATION,
    CODE_GENERATION,
    GENERAL,
)

_SENTENCE = re.compile(
    r"[.!?;:\n]+(?=\s|$)|[\u3002\uff01\uff1f]|,\s*(?=(?:just|only|then|and then|but|sondern)\b)"
)
_NEGATED = re.compile(
    r"\b(?:do not|don't|dont|no need to|not asking (?:for|you)|no|not a|without|never|rather than"
    r"|instead of|nicht|kein\w*|ohne|pas de|sin|senza)\b[^,;]*",
    re.IGNORECASE,
)
_PASTED_ERROR = 3  # an error beside the words asks for its cure, unless they ask for more
_FIRST = 2.0  # a verb at the beginning of a sentence weighs so much more
_LATER = 3.0  # and elsewhere so much less
_SHORT_WORDS = 6  # "yes, please" goes on with what the session was about
_SURE = 6  # the weight at which nothing else was meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A type of task, how sure that is (0 to 1), and what it was inferred from."""

    task_type: str
    confidence: float
    words: tuple[str, ...] = ()
    why: str = ""


def inferred(messages: Sequence[Any], sticky: str = "") -> Inference:
    """What the last words of the human ask for. `sticky`: what the session was about before."""
    told = messages if isinstance(messages, Sequence) else ()
    last = ""
    for number, turn in enumerate(spoken.turns(told)):
        weights, words = _weighed(turn.words)
        if turn.has_failure:
            weights[DEBUGGING] += _PASTED_ERROR
            words[DEBUGGING].append("an error that was pasted")
        last = last or turn.words
        if weights:
            return _judged(weights, words, earlier=number > 0)
        if number == 0 and (sticky or len(turn.words.split()) > _SHORT_WORDS):
            break  # else it may only answer what was asked back
    if sticky and len(last.split()) <= _SHORT_WORDS:
        return Inference(task_type=sticky, confidence=0.3, why="The session was about it before.")
    return Inference(task_type=GENERAL, confidence=0.2, why="No word of the human's says more.")


def _judged(weights: dict[str, float], words: dict[str, list[str]], *, earlier: bool) -> Inference:
    best = max(TASK_TYPES, key=lambda kind: weights.get(kind, 0.0))
    others = max([weight for kind, weight in weights.items() if kind != best], default=0.0)
    margin = (weights[best] - others) / weights[best]
    confidence = round(min(weights[best] / _SURE, 1.0) * (0.5 + margin / 2), 2)
    said = tuple(dict.fromkeys(words[best]))
    where = "An earlier turn" if earlier else "The human"
    return Inference(
        task_type=best,
        confidence=confidence,
        words=said,
        why=f"{where} said: {', '.join(said)}.",
    )


def _weighed(text: str) -> tuple[dict[str, float], dict[str, list[str]]]:
    weights: dict[str, float] = defaultdict(float)
    words: dict[str, list[str]] = defaultdict(list)
    for sentence in _sentences(text):
        for cue in cues.CUES:
            for found in cue.pattern.finditer(sentence):
                is_first = cue.is_verb and cues.begins(sentence, found.start())
                if cue.is_verb and not is_first:
                    if cue.kind == GENERAL:
                        continue  # "start", "open" and "pull" are about anything then
                    weights[cue.kind] += cue.weight / _LATER
                else:
                    weights[cue.kind] += cue.weight * (_FIRST if is_first else 1.0)
                words[cue.kind].append(found[0].strip().lower())
                break
    return weights, words


def _sentences(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.split(text):
        left = _NEGATED.sub(" ", sentence).strip()
        if left:
            yield left
