"""How a faulty stream ends: held back until it is known, then said once and in full."""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.answer import UpstreamNonsenseError
from proxy.wire.faults import CHARS_PER_TOKEN, is_count, no_verdicts, stop_reason_of, usage_of
from proxy.wire.stream import event

MAX_HELD_BYTES = 1024 * 1024  # of what follows a message_delta; its stop should, and at once
MAX_DELTA_BYTES = 1024 * 1024  # of one message_delta: a few counts and a reason
MAX_FIELDS = 100  # of all message_deltas together; the API has about thirty


class Ending:
    """Collects the message_deltas of a stream. Only the last one knows how the message ended."""

    __slots__ = (
        "_aside",
        "_beside",
        "_delta",
        "_exact",
        "_held",
        "_held_bytes",
        "_last",
        "_safeguards",
        "_usage",
    )

    def __init__(self, safeguards: Sequence[str]) -> None:
        self._safeguards = safeguards
        self._usage: dict[str, Any] = {}
        self._delta: dict[str, Any] = {}
        self._beside: dict[str, Any] = {}
        self._held: list[bytes] = []  # message_deltas as they came, and what stood between them
        self._aside: list[bytes] = []  # the latter alone
        self._held_bytes = 0
        self._last: dict[str, Any] = {}
        self._exact = True  # as far as we know, what is held can go out as the bytes it was

    @property
    def stop_reason(self) -> str:
        """Why the message ended, as far as the upstream has said; empty until then."""
        reason = self._delta.get("stop_reason")
        return reason if isinstance(reason, str) else ""

    def begin(self, usage: Mapping[str, Any]) -> None:
        """The usage that the message began with."""
        self._usage = usage_of(usage)
        self._usage.pop("output_tokens", None)  # that of the start is none of the end

    def see(self, raw: bytes, data: dict[str, Any]) -> None:
        """One more message_delta, held back: another may follow, or the blocks may go on.

        Raises UpstreamNonsenseError for one that is too long to be one.
        """
        if len(raw) > MAX_DELTA_BYTES:
            raise UpstreamNonsenseError("The upstream sent a message_delta that is too long.")
        said_before = bool(self.stop_reason)
        delta = data.get("delta")
        usage = data.get("usage")
        beside = {key: data[key] for key in data.keys() - {"type", "delta", "usage"}}
        _merge(self._delta, delta)
        _merge(self._usage, usage_of(usage))
        _merge(self._beside, beside)
        self._exact = self._exact and not said_before and _has_reason(delta) and _has_output(usage)
        self._last = data
        self._keep(raw)

    def hold(self, raw: bytes) -> bool:
        """Keep what came after a message_delta in its place. False where none is held back."""
        if not self._held:
            return False
        if self._keep(raw):
            self._aside.append(raw)
        return True

    def put_off(self) -> bytes:
        """The message goes on after all: what is held is said at its end, the rest now."""
        aside = b"".join(self._aside)
        if self._held:
            self._held, self._aside, self._exact = [], [], False
            self._held_bytes = 0
        return aside

    def said(self, stop: bytes, *, called: bool, chars: int) -> bytes:
        """The end of the message; `stop` is the upstream's message_stop, empty for none."""
        stop = stop or event("message_stop")
        if self._held and self._exact and self._right(self._last, called, chars) == self._last:
            return b"".join(self._held) + stop
        merged = {"delta": self._delta, "usage": self._usage} | self._beside
        right = self._right(merged, called, chars)
        return b"".join(self._aside) + event("message_delta", right) + stop

    def _right(self, data: dict[str, Any], called: bool, chars: int) -> dict[str, Any]:
        delta = {"stop_sequence": None} | data["delta"]
        delta["stop_reason"] = stop_reason_of(delta.get("stop_reason"), called=called)
        if self._safeguards and "safeguard_results" not in delta:
            delta["safeguard_results"] = no_verdicts(self._safeguards)
        usage = data["usage"]
        if not _has_output(usage):
            usage = usage | {"output_tokens": -(-chars // CHARS_PER_TOKEN)}
        return data | {"delta": delta, "usage": usage}

    def _keep(self, raw: bytes) -> bool:
        if self._held_bytes + len(raw) > MAX_HELD_BYTES:
            self._exact = False  # not all there any more: the end is said anew
            return False
        self._held_bytes += len(raw)
        self._held.append(raw)
        return True


def _has_reason(delta: object) -> bool:
    """Whether a delta says why the message ended, or says in full that it has not."""
    if not isinstance(delta, Mapping) or not delta.keys() >= {"stop_reason", "stop_sequence"}:
        return False
    return delta["stop_reason"] is None or isinstance(delta["stop_reason"], str)


def _has_output(usage: object) -> bool:
    return isinstance(usage, Mapping) and is_count(usage.get("output_tokens"))


def _merge(whole: dict[str, Any], part: object) -> None:
    """Add what `part` knows. Counts are cumulative, and null means "nothing new"."""
    for name, value in part.items() if isinstance(part, Mapping) else ():
        if value is not None and (name in whole or len(whole) < MAX_FIELDS):
            whole[name] = value
