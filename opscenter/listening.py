"""Can we listen where we are told to? Asked before anything is promised."""

import socket

from django.conf import settings
from django.core.management.base import CommandError


def check_free() -> None:
    """Raises CommandError where somebody listens already, in words that help."""
    host, port = settings.HOST, settings.PORT
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {host}:{port} ({error.strerror}). "
                "Set OPSCENTER_PORT or OPSCENTER_HOST to another."
            ) from error
