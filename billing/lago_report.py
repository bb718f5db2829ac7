"""What a comparison of the ledger with Lago has found."""

from dataclasses import dataclass, field
from decimal import Decimal

MOST_LISTED = 100  # of each kind; beyond it they are counted


@dataclass(slots=True)
class Listed:
    """Things of one kind: all are counted, the first are named."""

    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.named) < MOST_LISTED:
            self.named.append(text)


@dataclass(slots=True)
class Report:
    """What the comparison found."""

    rows: int = 0
    at_lago: int = 0
    cost_nano: int = 0  # of those at Lago, by the ledger
    tokens: int = 0
    billed: Decimal = Decimal(0)  # the same in Lago's numbers and unit
    pending: int = 0
    earlier: int = 0  # rows that used something before metering began
    requeued: int = 0  # of those missing, put into the outbox again
    parked: Listed = field(default_factory=Listed)
    missing: Listed = field(default_factory=Listed)
    twice: Listed = field(default_factory=Listed)
    unknown: Listed = field(default_factory=Listed)
    different: Listed = field(default_factory=Listed)
    sums: Listed = field(default_factory=Listed)

    @property
    def differences(self) -> dict[str, Listed]:
        """Each kind of difference under its name."""
        return {
            "parked, so not at Lago": self.parked,
            "missing at Lago": self.missing,
            "twice at Lago": self.twice,
            "unknown to the ledger": self.unknown,
            "different values": self.different,
            "different sums": self.sums,
        }

    @property
    def is_balanced(self) -> bool:
        """Whether everything agrees. What is on its way to Lago does not count against it."""
        return not any(listed.count for listed in self.differences.values())
