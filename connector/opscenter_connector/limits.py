"""What a gateway may ask of this machine; what it says beyond that is brought back (pure)."""

from dataclasses import replace

from opscenter_connector import frames

RENEW_MS = 100, 60_000  # more often is only noise; more seldom, and no lease would last
RESULT_BYTES = 16 * 1024, 16 * 1024 * 1024  # a text that says "too large" fits, and so does memory


def kept(welcome: frames.Welcome, asked: frames.Hello) -> tuple[frames.Welcome, list[str]]:
    """The welcome within the bounds, and what was out of them."""
    bounds = {
        "max_in_flight": (1, asked.max_in_flight),
        "renew_ms": RENEW_MS,
        "max_result_bytes": RESULT_BYTES,
    }
    said = {name: getattr(welcome, name) for name in bounds}
    within = {name: max(least, min(said[name], most)) for name, (least, most) in bounds.items()}
    odd = [
        f"the gateway says {name}={said[name]}; here it is {within[name]}"
        for name in bounds
        if said[name] != within[name]
    ]
    return replace(welcome, **within), odd
