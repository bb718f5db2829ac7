"""Whose certificates are believed: those that this machine believes, and no list of ours."""

import ssl
from functools import cache


@cache  # reading the machine's certificates takes 20 ms
def context() -> ssl.SSLContext:
    """For the clients of neighbours. SSL_CERT_FILE takes the place of what the system has."""
    return ssl.create_default_context()


def store() -> str | bool:
    """The same as a file or a folder, for `requests`, which has a list of its own else."""
    places = ssl.get_default_verify_paths()
    return places.cafile or places.capath or True
