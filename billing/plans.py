"""Tiers and their limits as plain data."""

from dataclasses import dataclass, field

_SUFFIXES = ("_monthly", "_yearly", "_weekly", "_annual")


def normalized(code: str) -> str:
    """A plan's code in one form: small, `-` as `_`, without the interval that Lago's codes end in.

    A plan's own code is compared in this form too, so `pro-plus` and `PRO_PLUS_MONTHLY` are one.
    """
    plain = code.strip().lower().replace("-", "_")
    for suffix in _SUFFIXES:
        plain = plain.removesuffix(suffix)
    return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one subject may use. None: unlimited. Money is nano-dollars; days and months are UTC."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    cost_per_day_nano: int | None = None
    cost_per_month_nano: int | None = None

    @property
    def counts_days(self) -> bool:
        """Whether anything here needs a day's allowance."""
        return (
            self.requests_per_day is not None
            or self.tokens_per_day is not None
            or self.cost_per_day_nano is not None
        )

    @property
    def counts_months(self) -> bool:
        """Whether anything here needs a month's allowance."""
        return self.cost_per_month_nano is not None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms an organization may use the gateway just now."""

    plan: str  # its code
    name: str
    limits: Limits = field(default=UNLIMITED)  # of each user, and of each service key
    cap: Limits = field(default=UNLIMITED)  # of the whole organization
    overdraft: bool = False
    suspended: bool = False
    reason: str = ""  # why it is suspended, in words for its users
    has_subscription: bool = True  # False: the default plan, for want of another
    is_unknown: bool = False  # the default plan is not there, so there are no limits to apply
