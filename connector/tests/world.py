"""A model of gateway, wire, disk, policy and tools around `Work`, in which anything may fail."""

import random
from collections import Counter, deque
from typing import Any

from opscenter_connector import actions, frames, journal
from opscenter_connector.held import CANCELLED
from opscenter_connector.journal import End, Entry
from opscenter_connector.work import Work

CALLS, STEPS, MOST = 6, 400, 4
FINAL = {"succeeded", "failed", "cancelled"}


class World:
    """Everything around `Work`. Whatever is not durable is lost in a crash."""

    def __init__(self, seed: int, *, honest: bool = True) -> None:
        self.random = random.Random(seed)
        self.honest = honest
        self.rows: dict[str, dict[str, Any]] = {
            f"c{n}": {"state": "queued", "fence": 0, "effects": n % 3 > 0, "cancel": False}
            for n in range(CALLS)
        }
        self.up: deque[Any] = deque()  # frames to the gateway
        self.down: deque[Any] = deque()
        self.disk: list[dict[str, Any]] = []
        self.writing: deque[tuple[dict[str, Any], Any]] = deque()
        self.later: deque[Any] = deque()  # judgements that take a while
        self.settling = False
        self.runs: dict[int, frames.Call] = {}
        self.stopped: set[int] = set()
        self.ran: Counter[str] = Counter()
        self.granted: Counter[str] = Counter()  # the newest fence that may begin
        self.work = Work(max_in_flight=MOST)
        self.weights = {
            self.hand_out: 4,
            self.hear_up: 8,
            self.hear_down: 8,
            self.sync: 8,
            self.judge_later: 4,
            self.finish: 4,
            self.work_tick: 2,
            self.lease_over: 0.7,
            self.cut: 0.5,
            self.cancel: 0.4,
            self.crash: 0.2,
        }
        self.said: list[Any] = []  # all that the gateway ever said
        if not honest:
            self.weights |= {self.forget: 1.0, self.repeat: 1.0}

    # What `Work` asks for.

    def perform(self, todo: list[actions.Action]) -> None:
        for action in todo:
            if isinstance(action, frames.FromConnector):
                self.send(action)
            elif (do := getattr(self, f"do_{type(action).__name__.lower()}", None)) is not None:
                do(action)

    def do_judge(self, action: actions.Judge) -> None:
        self.perform(self.judge(action.call))

    def do_begin(self, action: actions.Begin) -> None:
        call = action.call
        line = journal.begun(call.id, call.fence)
        self.writing.append((line, lambda: self.work.written(call.id, call.fence)))

    def do_keep(self, action: actions.Keep) -> None:
        line = journal.ended(action.id, action.fence, action.end)
        self.writing.append((line, lambda: self.work.kept(action.id, action.end)))

    def do_forget(self, action: actions.Forget) -> None:
        self.writing.append((journal.over(action.id, action.fence, ran=action.ran), list))

    def do_run(self, action: actions.Run) -> None:
        self.run(action)

    def do_stop(self, action: actions.Stop) -> None:
        self.stopped.add(action.number)

    def judge(self, call: frames.Call) -> list[actions.Action]:
        """At once, after a while, or a person is asked and the call goes back."""
        what = self.random.random()
        if what < 0.2:
            self.later.append(lambda: self.work.judged(call.id, call.fence, by="allow"))
            return []
        if what < 0.3 and not self.settling:
            self.up.append(frames.Ask(id=call.id, fence=call.fence, digest="d"))
            return self.work.asked(call.id, call.fence) or []
        refusal = "no" if what < 0.35 else ""
        return self.work.judged(call.id, call.fence, by="it", refusal=refusal)

    def judge_later(self) -> None:
        if self.later:
            self.perform(self.later.popleft()())

    def send(self, frame: Any) -> None:
        if isinstance(frame, frames.Renew) or not self.rows[frame.id]["effects"]:
            self.up.append(frame)
            return
        on_disk = {(line["k"], line["id"], line.get("outcome")) for line in self.disk}
        if isinstance(frame, frames.Start):
            assert ("s", frame.id, None) in on_disk
        if isinstance(frame, frames.Result):
            interrupted = frame.outcome == "interrupted"
            assert interrupted != (("d", frame.id, frame.outcome) in on_disk)
            if interrupted and self.honest:
                assert ("d", frame.id, "done") not in on_disk, "a result that is known is told"
        self.up.append(frame)

    def run(self, action: actions.Run) -> None:
        row = self.rows[action.call.id]
        assert self.granted[action.call.id] >= action.call.fence, "nothing runs without a word"
        self.ran[action.call.id] += 1
        assert self.ran[action.call.id] == 1 or not row["effects"], "effects happen once"
        self.runs[action.number] = action.call

    # What may happen, one thing at a time.

    def step(self) -> None:
        what = self.random.choices(list(self.weights), list(self.weights.values()))[0]
        what()

    def hand_out(self) -> None:
        for id_, row in self.rows.items():
            if row["state"] == "queued":
                row["fence"] += 1
                begun = not row["effects"] and (not self.honest or self.random.random() < 0.5)
                row["state"] = "running" if begun else "leased"
                if begun:
                    self.granted[id_] = row["fence"]
                self.down.append(
                    frames.Call(
                        id=id_,
                        fence=row["fence"],
                        server="s",
                        method="tools/call",
                        params={"name": "t"},
                        has_effects=row["effects"],
                        remaining_ms=1000,
                        begun=begun or not self.honest,
                    )
                )
                return

    def hear_down(self) -> None:
        if not self.down:
            return
        frame = self.down.popleft()
        self.said.append(frame)
        if isinstance(frame, frames.Call):
            self.perform(self.work.handed_out(frame))
        elif isinstance(frame, frames.Started):
            self.perform(self.work.started(frame))
        elif isinstance(frame, frames.Denied):
            self.perform(self.work.denied(frame))
        elif isinstance(frame, frames.Ack):
            self.perform(self.work.acknowledged(frame))
        elif isinstance(frame, frames.Renewed):
            self.perform(self.work.renewed(frame))
        elif isinstance(frame, frames.Cancel):
            self.perform(self.work.cancel(frame.id, frame.fence))

    def hear_up(self) -> None:
        if not self.up:
            return
        frame = self.up.popleft()
        if isinstance(frame, frames.Renew):
            held = tuple(n for n in frame.calls if self.holds(*n))
            lost = tuple(n for n in frame.calls if n not in held)
            self.down.append(frames.Renewed(held=held, lost=lost, cancel=()))
            return
        row, names = self.rows[frame.id], {"id": frame.id, "fence": frame.fence}
        if isinstance(frame, frames.Start):
            if self.holds(frame.id, frame.fence) and not row["cancel"]:
                row["state"], self.granted[frame.id] = "running", frame.fence
                self.down.append(frames.Started(**names, remaining_ms=1000))
            else:
                self.down.append(frames.Denied(**names, reason="no"))
        elif isinstance(frame, frames.Release | frames.Ask):
            if self.holds(frame.id, frame.fence) and (
                row["state"] == "leased" or not row["effects"]
            ):
                row["state"] = "cancelled" if row["cancel"] else "queued"
        elif isinstance(frame, frames.Result):
            self.down.append(frames.Ack(**names, verdict=self.finished(frame, row)))

    def holds(self, id_: str, fence: int) -> bool:
        row = self.rows[id_]
        return row["fence"] == fence and row["state"] in ("leased", "running")

    def finished(self, frame: frames.Result, row: dict[str, Any]) -> str:
        if row["fence"] != frame.fence or row["state"] not in ("running", "orphaned"):
            return "conflict"
        if frame.outcome == "done":
            assert self.ran[frame.id], "what is done was run"
        if frame.outcome == "error" and row["effects"]:
            assert not self.ran[frame.id], "what is said not to have begun did not"
        if frame.outcome == "cancelled":
            assert row["cancel"] or not self.honest, "only what was cancelled says so"
        row["state"] = {"done": "succeeded", "cancelled": "cancelled"}.get(frame.outcome, "failed")
        return "accepted"

    def sync(self) -> None:
        if self.writing:
            line, then = self.writing.popleft()
            self.disk.append(line)
            self.perform(then())

    def finish(self) -> None:
        if self.runs:
            number = self.random.choice(list(self.runs))
            call = self.runs.pop(number)
            end = CANCELLED if number in self.stopped else End(outcome="done", body={})
            self.perform(self.work.ended(call.id, number, end))

    def work_tick(self) -> None:
        self.perform(self.work.tick())

    def cut(self) -> None:
        self.up.clear()
        self.down.clear()
        self.perform(self.work.reopened())

    def lease_over(self) -> None:
        row = self.rows[self.random.choice(list(self.rows))]
        if row["state"] == "leased" or (row["state"] == "running" and not row["effects"]):
            row["state"] = "cancelled" if row["cancel"] else "queued"
        elif row["state"] == "running":
            row["state"] = "orphaned"

    def cancel(self) -> None:
        id_ = self.random.choice(list(self.rows))
        row = self.rows[id_]
        if row["state"] in ("leased", "running"):
            row["cancel"] = True
            self.down.append(frames.Cancel(id=id_, fence=row["fence"]))

    def crash(self) -> None:
        """What was not synced is gone, and so is everything that ran."""
        self.writing.clear()
        self.later.clear()
        self.runs.clear()
        self.stopped.clear()
        entries: dict[str, Entry] = {}
        for line in self.disk:
            journal._replay(entries, line)
        self.work = Work(max_in_flight=MOST)
        for entry in entries.values():
            self.perform(self.work.recover(entry))
        self.cut()

    def forget(self) -> None:
        """What no gateway may do: hand out again whatever it likes."""
        self.rows[self.random.choice(list(self.rows))] |= {"state": "queued", "cancel": False}

    def repeat(self) -> None:
        """Nor this: say again what is long over."""
        if self.said:
            self.down.append(self.random.choice(self.said))

    def settle(self) -> None:
        """No more faults: everything must come to an end."""
        self.settling = True
        for _ in range(40):
            for row in self.rows.values():
                if row["state"] == "leased" or (row["state"] == "running" and not row["effects"]):
                    # Nobody renews it: its lease is over.
                    row["state"] = "cancelled" if row["cancel"] else "queued"
            for _ in range(CALLS):
                self.hand_out()
            while self.up or self.down or self.writing or self.runs or self.later:
                for what in (
                    self.hear_up,
                    self.hear_down,
                    self.sync,
                    self.judge_later,
                    self.finish,
                ):
                    what()
            self.work_tick()
