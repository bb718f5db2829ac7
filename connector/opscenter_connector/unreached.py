"""Why no connection came about, in words instead of numbers of the operating system."""

import errno
import socket
import ssl
from collections.abc import Iterator

REFUSED = f"[Errno {errno.ECONNREFUSED}]"
DOCTOR = "ops-connector doctor says more"


def words(error: BaseException, host: str) -> str:
    """What kept us from `host`, which is a name with or without a port."""
    said = plainly(error, host)
    return str(error) or type(error).__name__ if said is None else f"{said}; {DOCTOR}"


def plainly(error: BaseException, host: str) -> str | None:
    """The same, without advice; None where it is nothing that we know."""
    said = (_in_words(one, host) for one in _causes(error))
    return next((words for words in said if words is not None), None)


def _in_words(error: BaseException, host: str) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host} is not trusted"
    if isinstance(error, ssl.SSLError):
        return f"{host} does not speak TLS as it should; is it http://?"
    if isinstance(error, socket.gaierror):
        return f"{host} has no address"
    # For several addresses asyncio raises a plain OSError, whose text is that of all of them.
    if isinstance(error, ConnectionRefusedError) or REFUSED in str(error):
        return f"nothing listens at {host}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from; libraries wrap one into the other."""
    one: BaseException | None = error
    while one is not None:
        yield one
        members = getattr(one, "exceptions", ())
        one = members[0] if members else one.__cause__ or one.__context__
