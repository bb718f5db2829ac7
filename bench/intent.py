"""`python -m bench.intent`: how often the type of a task is found, and how long that takes."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from proxy import intent, spoken
from proxy.intent import TASK_TYPES

CASES = Path(__file__).parent.parent / "proxy" / "tests" / "cases" / "intent"
HALVES = ("tuning", "held_out")
SURE = 0.6  # from here on a guess is worth more than a question

# The table of the earlier system: the first row of which a word stands anywhere in the last text.
EARLIER = {
    "code_generation": ("write", "create", "implement", "build", "code", "function", "class"),
    "code_review": ("review", "check", "analyze", "audit", "improve"),
    "debugging": ("bug", "error", "fix", "debug", "issue", "problem"),
    "system_design": ("design", "architecture", "system", "scalable", "infrastructure"),
    "documentation": ("document", "readme", "explain", "guide", "tutorial"),
}

Case = Mapping[str, Any]
Found = tuple[str, str]  # the label, and what was inferred


def cases(half: str) -> list[Case]:
    return [json.loads(line) for line in (CASES / f"{half}.jsonl").read_text().splitlines()]


def messages_of(case: Case) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = case.get("messages") or [
        {"role": "user", "content": case["says"]}
    ]
    return found


def earlier(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the earlier system would have said; generously, without reminders and tool results."""
    last = next(spoken.turns(messages), None)
    text = last.words.lower() if last else ""
    kinds = (kind for kind, words in EARLIER.items() if any(word in text for word in words))
    return next(kinds, "general")


def judged(half: str, judge: Callable[[list[dict[str, Any]]], str]) -> list[Found]:
    return [(case["type"], judge(messages_of(case))) for case in cases(half)]


def share(found: Sequence[Found]) -> float:
    return sum(label == said for label, said in found) / len(found)


def by_type(found: Sequence[Found]) -> Iterator[str]:
    """Of each type: how many prompts ask for it, how many of them are found, how many are right."""
    for kind in sorted(TASK_TYPES):
        labelled = [said for label, said in found if label == kind]
        inferred = [label for label, said in found if said == kind]
        wrong = Counter(said for said in labelled if said != kind).most_common(1)
        taken_for = f"{wrong[0][0]} ({wrong[0][1]})" if wrong else "-"
        yield (
            f"| {kind} | {len(labelled)} | {labelled.count(kind) / len(labelled):.0%}"
            f" | {inferred.count(kind) / max(len(inferred), 1):.0%} | {taken_for} |"
        )


def sure() -> tuple[float, float]:
    """Of the held-out half: how much is said with confidence, and how much of that is right."""
    told = [(intent.inferred(messages_of(case)), case["type"]) for case in cases("held_out")]
    confident = [found.task_type == label for found, label in told if found.confidence >= SURE]
    return len(confident) / len(told), sum(confident) / max(len(confident), 1)


def microseconds() -> float:
    """One inference, the mean over all prompts."""
    everything = [messages_of(case) for half in HALVES for case in cases(half)]
    began = time.perf_counter()
    for messages in everything:
        intent.inferred(messages)
    return (time.perf_counter() - began) / len(everything) * 1_000_000


def main() -> None:
    rules = {half: judged(half, lambda told: intent.inferred(told).task_type) for half in HALVES}
    print("Types of tasks, inferred from labelled prompts\n")
    print(
        "| Prompts | Count | Ours | The earlier table of substrings |\n| --- | ---: | ---: | ---: |"
    )
    for half in HALVES:
        before = share(judged(half, earlier))
        name = half.replace("_", "-")
        print(f"| {name} | {len(rules[half])} | {share(rules[half]):.0%} | {before:.0%} |")
    confident, right = sure()
    print(
        f"\nHeld-out: {confident:.0%} are told with a confidence of {SURE} or more, and {right:.0%}"
        f" of those are right. {microseconds():.0f} µs each.\n"
    )
    print("| Held-out | Prompts | Found | Right where said | Most often taken for |")
    print("| --- | ---: | ---: | ---: | --- |")
    print("\n".join(by_type(rules["held_out"])))


if __name__ == "__main__":
    main()
