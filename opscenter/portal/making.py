"""New keys on a page: shown once, and made once however often a form is sent.

A form carries the id of the key that it will make, signed for its user and organization. Sent
again, by a reload or a second click, it asks for a key that is there: the table itself refuses, in
every process and for ever, and no list of forms is kept anywhere.
"""

from dataclasses import dataclass, replace

from django.core import signing
from django.core.signing import BadSignature
from django.utils import timezone

from accounts import keys
from accounts.keeping import NotAllowedError, TakenError, Wanted
from accounts.models import ApiKey
from accounts.rest import TooOftenError
from opscenter.portal.visitors import Visitor

_SIGNER = signing.Signer(salt="opscenter.portal.making")

STALE = (
    "This form was not complete, or another organization was chosen since it was opened."
    " Look at what it says and send it again."
)
REPEATED = (
    "This form was sent before, and its key was shown then. It cannot be shown again: if you have"
    " not kept it, rotate it or make another."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new key with its plaintext, which goes into one answer and nowhere else."""

    key: ApiKey
    plaintext: str


class NotMadeError(Exception):
    """No key was made. The text says why, `field` what to change; `key_id` is of a sent form."""

    def __init__(self, text: str, *, field: str = "", key_id: str = "", status: int = 200) -> None:
        super().__init__(text)
        self.field = field
        self.key_id = key_id  # of the key that the same form has made before
        self.status = status


def dated(name: str) -> str:
    """A name that tells this key from the next one that the same page makes."""
    return f"{name}, {timezone.now():%Y-%m-%d %H:%M}"


def ticket(visitor: Visitor) -> str:
    """What a form must bring back, for one key of the organization that the form was opened in."""
    return _SIGNER.sign(f"{_whose(visitor)}:{keys.new_id()}")


def make(visitor: Visitor, wanted: Wanted, brought: str) -> Made:
    """The key that the form with this ticket is for. Raises NotMadeError."""
    key_id = _opened(visitor, brought)
    try:
        key, plaintext = visitor.keeper.make(visitor.here, replace(wanted, key_id=key_id))
    except TakenError as error:
        raise NotMadeError(REPEATED, key_id=key_id) from error
    except NotAllowedError as error:
        raise NotMadeError(str(error), field=error.field) from error
    except TooOftenError as error:
        raise NotMadeError(str(error.detail), status=error.status_code) from error
    return Made(key=key, plaintext=plaintext)


def _opened(visitor: Visitor, brought: str) -> str:
    try:
        whose, _, key_id = _SIGNER.unsign(brought).partition(":")
    except BadSignature as error:
        raise NotMadeError(STALE) from error
    if whose != _whose(visitor):  # another person, or another organization chosen in another tab
        raise NotMadeError(STALE)
    return key_id


def _whose(visitor: Visitor) -> str:
    return f"{visitor.user.pk}@{visitor.organization.pk}"
