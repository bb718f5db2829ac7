"""What the process logs, and in which form."""

from typing import Any


def configured(level: str) -> dict[str, Any]:
    """Python's logging, all of it on stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "httpx": {"level": "WARNING"},  # it tells of every probe of a neighbour
            # A traceback for each second that Redis is away; mcp/bell.py says once that it is.
            "channels_redis": {"handlers": [], "propagate": False},
            # Anybody can send a wrong Host; the answer says so, and a traceback says no more.
            "django.security.DisallowedHost": {"handlers": [], "propagate": False},
        },
    }
