"""What waits for a person: which answer counts, and what is said again."""

from opscenter_connector import frames
from opscenter_connector.policing.questions import BEYOND_S, MAX_GIVEN, Question, Questions


def question(id_: str = "a", digest: str = "d", fence: int = 1) -> Question:
    return Question(
        id=id_, fence=fence, digest=digest, server="s", tool="t", arguments={}, reason="why" * 999
    )


def waiting(*given: Question) -> Questions:
    found = Questions()
    for one in given or (question(),):
        found.put(one, here_only=False)
        asked = frames.Asked(id=one.id, fence=one.fence, remaining_ms=1000)
        assert found.waits(asked, now_s=0.0) == one
    return found


def test_a_question_is_bounded_and_shown_once() -> None:
    found = Questions()
    frame = found.put(question(), here_only=True)
    assert (len(frame.reason), frame.here_only) == (500, True)
    asked = frames.Asked(id="a", fence=1, remaining_ms=1000)
    assert found.waits(frames.Asked(id="a", fence=2, remaining_ms=1000), now_s=0) is None
    assert found.waits(asked, now_s=0) is not None
    assert found.waits(asked, now_s=0) is None  # asked again in a new session


def test_an_answer_is_to_the_question_that_is_open_and_is_the_only_one() -> None:
    found = waiting()
    assert found.decide("a", "another", approve=True) is None
    assert found.decide("b", "d", approve=True) is None
    assert found.decide("a", "d", approve=False) == frames.Decide(id="a", digest="d", approve=False)
    assert found.decide("a", "d", approve=True) is None
    assert not found.given("a", "d")


def test_a_yes_counts_once_and_for_its_own_call() -> None:
    found = waiting(question("a"), question("b"))
    assert found.decide("a", "d", approve=True) is not None
    assert found.settled("a", "d", "approved")
    assert (found.given("a", "d"), found.given("a", "e"), found.given("b", "d")) == (1, 0, 0)
    found.used("a")
    assert not found.given("a", "d")


def test_a_yes_that_came_too_late_is_none() -> None:
    for state in ("expired", "refused", "withdrawn", "unknown"):
        found = waiting()
        found.decide("a", "d", approve=True)
        assert found.settled("a", "d", state)
        assert not found.given("a", "d")


def test_the_end_of_another_question_about_the_call_is_not_its_end() -> None:
    found = waiting(question(digest="old"))
    found.put(question(digest="new", fence=2), here_only=False)
    assert not found.settled("a", "old", "expired")
    assert not found.withdrawn("a", 1)
    assert found.withdrawn("a", 2)


def test_a_new_session_hears_of_all_that_has_had_no_answer() -> None:
    found = waiting(question("a"), question("b"), question("c"))
    found.decide("b", "d", approve=True)
    found.settled("c", "d", "refused")
    assert [type(frame) for frame in found.again()] == [frames.Ask, frames.Decide]


def test_what_nobody_tells_the_end_of_ends_by_itself() -> None:
    found = waiting()
    assert found.over(now_s=1.0 + BEYOND_S) == []
    assert found.over(now_s=1.1 + BEYOND_S) == ["a"]
    assert found.decide("a", "d", approve=True) is None


def test_approvals_whose_calls_never_come_are_forgotten() -> None:
    found = Questions()
    for number in range(MAX_GIVEN + 1):
        found.put(question(str(number)), here_only=False)
        found.decide(str(number), "d", approve=True)
        found.settled(str(number), "d", "approved")
    assert not found.given("0", "d")
    assert found.given(str(MAX_GIVEN), "d")
