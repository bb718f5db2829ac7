"""Which failure is followed by another attempt, which one counts, and which one is told."""

import time
from collections.abc import Sequence
from uuid import UUID

import pytest
from pytest_django import Settings

from billing.ledger import Admission
from billing.tariff import Tariff
from proxy import answer, failover
from proxy.answer import Answer, UpstreamError, UpstreamRefusalError, UpstreamSaidError
from proxy.breaker import (
    MOST_OPEN_S,
    OPENS_AFTER,
    Breakers,
    FullError,
    Place,
    RestingError,
    UnwellError,
)
from proxy.failover import After
from proxy.receipts import Receipt
from proxy.routing import Target
from proxy.tests.rules import target
from proxy.wire.body import BodyError

ADMISSION = Admission(
    id=UUID(int=1),
    organization_id=UUID(int=2),
    user_id=1,
    api_key_id="",
    requested_model="m",
    target_model="m",
    upstream="a",
    streamed=True,
)
A, B, C = target("a"), target("b"), target("c")
MOVE, SICK, STOP = After(True, False), After(True, True), After(False, False)


def refusal(status: int, retry_after: str = "") -> UpstreamRefusalError:
    headers = {"retry-after": retry_after} if retry_after else {}
    return UpstreamRefusalError(Answer(status=status, headers=headers))


class Asked:
    """Asks nobody: gives each target its outcome, and remembers."""

    def __init__(self, **outcomes: Exception) -> None:
        self.names: list[str] = []
        self.seconds: list[float] = []
        self._outcomes = outcomes

    async def __call__(self, to: Target, place: Place, within_s: float) -> str:
        self.names.append(to.upstream.name)
        self.seconds.append(within_s)
        if outcome := self._outcomes.get(to.upstream.name):
            raise outcome
        return to.upstream.name


@pytest.fixture
def breakers() -> Breakers:
    return Breakers(connections=100)


async def first(
    asked: Asked, breakers: Breakers, targets: Sequence[Target] = (A, B, C), streamed: bool = True
) -> tuple[str, Receipt]:
    receipt = Receipt(ADMISSION, targets[0], Tariff([]))
    given = await failover.first(targets, asked, receipt, breakers, streamed=streamed)
    return given, receipt


async def told(
    asked: Asked, breakers: Breakers, targets: Sequence[Target] = (A, B, C)
) -> Exception:
    with pytest.raises((UpstreamError, BodyError)) as failed:
        await first(asked, breakers, targets)
    return failed.value


@pytest.mark.parametrize(
    ("error", "follows"),
    [
        *((refusal(status), MOVE) for status in (402, 403, 429)),
        *((refusal(status), SICK) for status in (408, 500, 502, 503, 504, 529)),
        *((UpstreamSaidError(k, ""), SICK) for k in ("api_error", "overloaded_error")),
        *((UpstreamSaidError(k, ""), MOVE) for k in ("rate_limit_error", "permission_error")),
        (UpstreamSaidError("invalid_request_error", ""), STOP),
        (UpstreamSaidError("a_new_error", ""), STOP),
        (BodyError(""), MOVE),
        (answer.UpstreamRefusedUsError(""), MOVE),
        (answer.UpstreamTimeoutError(""), SICK),
        (answer.UpstreamUnreachableError(""), SICK),
        (answer.UpstreamDroppedError(""), SICK),
        (answer.UpstreamNonsenseError(""), SICK),
        (UnwellError("", 1), MOVE),
        (FullError("", 1), MOVE),
        (RestingError("", 1), MOVE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_follows_the_table(error: Exception, follows: After) -> None:
    assert failover.after(error) == follows


async def test_it_takes_the_first_that_answers(breakers: Breakers) -> None:
    asked = Asked(a=refusal(529), b=BodyError("pictures"))
    given, receipt = await first(asked, breakers)
    assert (given, asked.names) == ("c", ["a", "b", "c"])
    assert (receipt.moved_from, receipt.target, receipt.attempts) == ("a", C, 2)


async def test_it_asks_no_more_than_the_budget(breakers: Breakers, settings: Settings) -> None:
    settings.UPSTREAM_ATTEMPTS = 2
    asked = Asked(a=refusal(529), b=refusal(500))
    error = await told(asked, breakers)
    assert asked.names == ["a", "b"]
    assert isinstance(error, UpstreamRefusalError)
    assert (error.answer.status, error.is_final) == (500, True)


async def test_it_spends_no_attempt_on_whom_it_cannot_ask(
    breakers: Breakers, settings: Settings
) -> None:
    settings.UPSTREAM_ATTEMPTS = 1
    breakers.rest(A, 30, time.monotonic())
    asked = Asked(b=BodyError("pictures"))
    given, receipt = await first(asked, breakers)
    assert (given, receipt.attempts) == ("c", 1)


@pytest.mark.parametrize("last", [refusal(500), answer.UpstreamTimeoutError("")])
async def test_it_tells_the_last_failure_of_one_that_was_asked(
    breakers: Breakers, last: UpstreamError
) -> None:
    assert await told(Asked(a=refusal(529), b=refusal(503), c=last), breakers) is last
    assert last.is_final


async def test_it_tells_the_one_that_says_when_to_come_back(breakers: Breakers) -> None:
    sooner = refusal(429, "20")
    asked = Asked(a=refusal(529, "30"), b=sooner, c=refusal(500))
    assert await told(asked, breakers) is sooner


async def test_it_tells_an_answer_that_would_be_the_same_everywhere(breakers: Breakers) -> None:
    last = UpstreamSaidError("invalid_request_error", "no")
    asked = Asked(a=refusal(429, "20"), b=last)
    assert await told(asked, breakers) is last
    assert asked.names == ["a", "b"]


async def test_it_does_not_give_up_for_one_that_cannot_be_asked_at_all(breakers: Breakers) -> None:
    overloaded = refusal(529)
    assert await told(Asked(a=overloaded, b=BodyError("pictures")), breakers, [A, B]) is overloaded
    assert not overloaded.is_final
    breakers.rest(A, 30, time.monotonic())
    assert isinstance(await told(Asked(b=BodyError("pictures")), breakers, [A, B]), RestingError)


async def test_it_tells_what_is_wrong_with_a_body_that_nobody_can_be_sent(
    breakers: Breakers,
) -> None:
    last = BodyError("last")
    assert await told(Asked(a=BodyError("first"), b=last), breakers, [A, B]) is last


async def test_it_lets_a_client_come_back_while_one_only_rests(breakers: Breakers) -> None:
    breakers.rest(A, 30, time.monotonic())
    error = await told(Asked(b=refusal(500), c=refusal(500)), breakers)
    assert isinstance(error, UpstreamError)
    assert not error.is_final


async def test_it_tells_the_soonest_of_those_that_rest(breakers: Breakers) -> None:
    now = time.monotonic()
    for each, seconds in zip((A, B, C), (30, 10, 20), strict=True):
        breakers.rest(each, seconds, now)
    asked = Asked()
    error = await told(asked, breakers)
    assert isinstance(error, RestingError)
    assert 5 < error.retry_in_s <= 10
    assert asked.names == []


@pytest.mark.parametrize("error", [refusal(529), answer.UpstreamUnreachableError("")])
async def test_it_leaves_alone_who_keeps_failing(breakers: Breakers, error: Exception) -> None:
    asked = Asked(a=error)
    for _ in range(OPENS_AFTER + 2):
        await first(asked, breakers)
    assert asked.names.count("a") == OPENS_AFTER


async def test_it_starts_counting_anew_after_an_answer(breakers: Breakers) -> None:
    failing = Asked(a=refusal(529))
    for outcome in [failing] * (OPENS_AFTER - 1) + [Asked()] + [failing] * (OPENS_AFTER - 1):
        await first(outcome, breakers)
    given, _ = await first(Asked(), breakers)
    assert given == "a"


@pytest.mark.parametrize("error", [refusal(429), BodyError(""), UpstreamSaidError("x_error", "")])
async def test_it_does_not_count_what_is_no_fault(breakers: Breakers, error: Exception) -> None:
    asked = Asked(a=error)
    for _ in range(OPENS_AFTER + 2):
        await told(asked, breakers, [A])
    assert asked.names.count("a") == OPENS_AFTER + 2


async def test_it_gives_every_place_back(breakers: Breakers) -> None:
    odd = KeyError("a bug")
    for error in (refusal(500), BodyError(""), UpstreamSaidError("x_error", ""), odd):
        with pytest.raises(type(error)):
            await first(Asked(a=error), breakers, [A])
    assert breakers.of(A.upstream).under_way == 0


async def test_it_counts_a_failed_probe(breakers: Breakers) -> None:
    health = breakers.of(A.upstream)
    health.failures, health.pause_s = OPENS_AFTER, MOST_OPEN_S
    await told(Asked(a=UpstreamSaidError("api_error", "")), breakers, [A])
    assert isinstance(await told(Asked(), breakers, [A]), UnwellError)


async def test_it_leaves_time_to_ask_others(breakers: Breakers, settings: Settings) -> None:
    settings.UPSTREAM_ANSWER_S = 100.0
    patient = target("b", answer_s=7.0)
    asked = Asked(a=refusal(500), b=refusal(500))
    await first(asked, breakers, [A, patient, C])
    assert [round(seconds) for seconds in asked.seconds] == [50, 7, 100]


async def test_it_gives_an_answer_that_is_not_streamed_all_the_time(breakers: Breakers) -> None:
    asked = Asked(a=refusal(500))
    await first(asked, breakers, streamed=False)
    assert [round(seconds) for seconds in asked.seconds] == [failover.WHOLE_ANSWER_S] * 2
