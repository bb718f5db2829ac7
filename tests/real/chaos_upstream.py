"""What the upstream of the chaos answers: the same to the same request, whenever it comes."""

import random
import threading
from dataclasses import dataclass, replace
from typing import Any

from tests import answers
from tests.answers import Answer, End, Pause, Step
from tests.turns import Turn, text_turn
from tests.upstream import MESSAGES, Request, Upstream

NAME = "x-claude-code-agent-id"
REFUSALS = ((529, "overloaded_error"), (400, "invalid_request_error"), (500, "api_error"))
BYTES_PER_TOKEN = 4  # as the gateway estimates; nobody uses more than it reserves


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What was answered to one request."""

    message_id: str  # empty where it was refused
    usage: dict[str, Any]


class ScriptedAnswers:
    """Answers by chance, by the seed and the request's name, and keeps what it said to whom."""

    def __init__(self, seed: int, upstream: Upstream) -> None:
        self._seed = seed
        self._upstream = upstream
        self._lock = threading.Lock()
        self._served: dict[str, Served] = {}
        upstream.answer_by(self._answer)

    def served(self) -> dict[str, Served]:
        """What each request got. Nobody sends one twice: neither a client nor a gateway."""
        names = [request.headers[NAME] for request in self._upstream.sent_to(MESSAGES)]
        assert len(names) == len(set(names)), "a request was sent to the upstream twice"
        with self._lock:
            assert set(names) == set(self._served)
            return dict(self._served)

    def _answer(self, request: Request) -> Answer:
        chance = random.Random(f"{self._seed}/{request.headers[NAME]}")
        if chance.random() < 0.03:
            self._keep(request, Served(message_id="", usage={}))
            status, kind = chance.choice(REFUSALS)
            return answers.error(status, kind, "not now")
        turn = text_turn("Some words. " * chance.randint(2, 6), cost=_cost(request, chance))
        self._keep(request, Served(message_id=turn.id, usage=turn.usage))
        if request.streaming:
            return answers.stream(_steps(turn, request.json["model"], chance))
        whole = answers.as_json(turn.message(request.json["model"]))
        return replace(whole, steps=(Pause(chance.uniform(0.0, 1.0)), *whole.steps))

    def _keep(self, request: Request, served: Served) -> None:
        with self._lock:
            self._served[request.headers[NAME]] = served


def _steps(turn: Turn, model: str, chance: random.Random) -> list[dict[str, Any] | Step]:
    """The events with pauses between them: most take a second, some long enough to be killed."""
    events = turn.events(model)
    longest = 1.0 if chance.random() < 0.06 else 0.25
    steps: list[dict[str, Any] | Step] = []
    for event in events:
        steps += [Pause(chance.uniform(0.0, longest)), event]
    if chance.random() < 0.04:
        steps = [*steps[: chance.randint(4, len(steps) - 4)], End.CUT]
    return steps


def _cost(request: Request, chance: random.Random) -> dict[str, Any]:
    """Usage in every class of tokens, in all no more than the request could be expected to use."""
    expected = len(request.body) // BYTES_PER_TOKEN
    read, written_5m, written_1h = (chance.randint(0, expected // 5) for _ in range(3))
    return {
        "input_tokens": expected - read - written_5m - written_1h - chance.randint(0, 5),
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written_5m + written_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written_5m,
            "ephemeral_1h_input_tokens": written_1h,
        },
        "output_tokens": chance.randint(20, request.json["max_tokens"]),
        "service_tier": "standard",
    }
