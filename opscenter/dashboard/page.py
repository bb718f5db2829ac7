"""The page itself: numbers as people read them, plots, and each plot's table."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone

from billing import money
from mcp.visible import in_one_line
from opscenter.dashboard import latest, now, sums
from opscenter.dashboard.sums import Amounts, Share, Step
from opscenter.request_tree import STALL_MS

SEES_USAGE = "billing.view_usagerollup"
SEES_MACHINES = "mcp.view_toolcall"
FIRST_RANGE = "24h"
PRIMARY, QUIET = "var(--color-primary-600)", "var(--color-primary-300)"
WORDS = "#787f8a"  # of axes and legends: to be read on white and on black
GREEN, AMBER, RED = "#16a34a", "#d97706", "#dc2626"

Series = tuple[str, str, list[float]]  # title, colour, a number for each step


def context(request: HttpRequest, page: dict[str, Any]) -> dict[str, Any]:
    """What unfold's index page is given besides; less for who may see less."""
    at = timezone.now()
    page |= {"title": "Dashboard"}
    if request.user.has_perm(SEES_MACHINES):
        page |= {"machines": now.machines(at)}
    if request.user.has_perm(SEES_USAGE):
        page |= _usage(sums.RANGES.get(request.GET.get("range", ""), sums.RANGES[FIRST_RANGE]), at)
        page |= {"near": now.near(at), "alarms": now.alarms()}
    return page


def _usage(wanted: sums.Range, at: Any) -> dict[str, Any]:
    steps = sums.steps(wanted, at)
    return {
        "ranges": sums.RANGES.values(),
        "range": wanted,
        "cards": _cards(sums.total(steps)),
        "plots": _plots(steps, wanted),
        "tops": [
            ("Models", _shares(sums.top("model", wanted, at), str)),
            ("Users", _shares(users := sums.top("user_id", wanted, at), _people(users))),
            ("Agents", _shares(sums.top("agent", wanted, at), str)),
        ],
        "answered": latest.answered(sums.begins(wanted, at), at),
        "newest": latest.NEWEST,
        "stall_s": STALL_MS // 1000,
    }


def _cards(total: Amounts) -> list[tuple[str, str, str]]:
    """Title, number, and what it is made of."""
    hits = total.cache_hit_percent
    failed = f"{total.failed:,} failed" if total.failed else "none failed"
    return [
        ("Requests", f"{total.requests:,}", failed),
        ("Cost", money.short(total.cost_nano), f"{total.tool_calls:,} tool calls"),
        ("Tokens", short(total.tokens), f"{short(total.output_tokens)} of them written"),
        ("Read from caches", "none" if hits is None else f"{hits:.0f} %", "of all that was sent"),
    ]


def _plots(steps: Sequence[Step], wanted: sums.Range) -> list[dict[str, Any]]:
    each = [step.amounts for step in steps]
    return [
        _plot(
            "Requests",
            "bar",
            steps,
            wanted,
            [
                ("answered", PRIMARY, [one.requests - one.failed for one in each]),
                ("failed", RED, [one.failed for one in each]),
            ],
        ),
        _plot(
            "Cost in dollars",
            "bar",
            steps,
            wanted,
            [("cost", GREEN, [one.cost_nano / money.NANO for one in each])],
        ),
        _plot(
            "Tokens",
            "bar",
            steps,
            wanted,
            [
                ("input", PRIMARY, [one.input_tokens for one in each]),
                ("cache read", QUIET, [one.cache_read_tokens for one in each]),
                ("cache write", AMBER, [one.cache_write_tokens for one in each]),
                ("output", GREEN, [one.output_tokens for one in each]),
            ],
        ),
        _plot(
            "Read from caches, in percent",
            "line",
            steps,
            wanted,
            [("cache hits", PRIMARY, [one.cache_hit_percent or 0 for one in each])],
        ),
    ]


def _plot(
    title: str, kind: str, steps: Sequence[Step], wanted: sums.Range, series: Sequence[Series]
) -> dict[str, Any]:
    """A plot, as Chart.js takes it, and the same as a table."""
    form = "%H:%M" if wanted.step == sums.HOUR else "%m-%d"
    labels = [step.starts_at.strftime(form) for step in steps]
    sets = [
        {"label": name, "data": numbers, "backgroundColor": colour, "borderColor": colour}
        for name, colour, numbers in series
    ]
    rows = [
        (label, [_number(numbers[at]) for _, _, numbers in series])
        for at, label in enumerate(labels)
    ]
    return {
        "title": title,
        "kind": kind,
        "data": json.dumps({"labels": labels, "datasets": sets}),
        "options": json.dumps(_options(len(series) > 1)),
        "columns": [name for name, _, _ in series],
        "rows": rows,
    }


def _options(has_legend: bool) -> dict[str, Any]:
    axis = {"stacked": True, "border": {"display": False}, "grid": {"display": False}}
    ticks = {"color": WORDS, "maxTicksLimit": 8, "maxRotation": 0, "autoSkip": True}
    legend = {
        "display": has_legend,
        "position": "bottom",
        "labels": {"boxWidth": 10, "color": WORDS},
    }
    return {
        "animation": False,
        "maintainAspectRatio": False,
        "barPercentage": 0.9,
        "categoryPercentage": 0.9,
        "scales": {
            "x": axis | {"ticks": ticks},
            "y": axis | {"beginAtZero": True, "ticks": {"color": WORDS}},
        },
        "plugins": {"legend": legend},
    }


def _shares(found: Sequence[Share], name: Callable[[Any], str]) -> list[dict[str, Any]]:
    """Rows of a list, each with how long its bar is beside the longest."""
    most = max((_weight(one) for one in found), default=0)
    return [
        {
            "name": in_one_line(name(one.name)) or "(none)",
            "requests": f"{one.amounts.requests:,}",
            "cost": money.short(one.amounts.cost_nano),
            "percent": 100 * _weight(one) // most if most else 0,
        }
        for one in found
    ]


def _weight(one: Share) -> int:
    """By its cost; where nothing cost anything, by how often it was used."""
    return one.amounts.cost_nano or one.amounts.requests


def _people(found: Sequence[Share]) -> Callable[[Any], str]:
    names = dict(
        User.objects.filter(pk__in=[one.name for one in found]).values_list("pk", "username")
    )
    return lambda user_id: names.get(user_id, f"user {user_id}, deleted")


def short(count: int) -> str:
    """A count to read at a glance: 1,234 or 12.3 M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            unit = 1000 if letter == "k" else size
            return f"{count / unit:.1f} {letter}"
    return f"{count:,}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
