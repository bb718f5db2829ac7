"""Tags of requests and of keys: words that usage is summed by (pure)."""

import re
from collections.abc import Iterable

HEADER = "x-opscenter-tags"
TAGS_MOST = 10  # each is one more sum to keep for every request
TAG_CHARS = 50
TEXT_CHARS = 1000  # ten of the longest and room between them; a longer text is not taken apart

_TAG = re.compile(r"[A-Za-z0-9_.:/ -]+")


class TagsError(Exception):
    """These are no tags. The text says what they may be."""


def parse(text: str) -> tuple[str, ...]:
    """The tags in the value of the header; several lines are joined with commas before."""
    try:
        return split(text)
    except TagsError as error:
        raise TagsError(f"{HEADER}: {error}") from None


def split(text: str) -> tuple[str, ...]:
    """The tags in `team-a, project:x`, each once. Raises TagsError."""
    if len(text) > TEXT_CHARS:
        raise TagsError(
            f"{len(text)} characters are too many; send at most {TAGS_MOST} tags"
            f" of at most {TAG_CHARS} characters, separated by commas."
        )
    words = (word.strip(" \t") for word in text.split(","))
    return checked(dict.fromkeys(word for word in words if word))


def checked(tags: Iterable[str]) -> tuple[str, ...]:
    """`tags`, if each is a good one and they are not too many. Raises TagsError."""
    found = tuple(tags)
    if len(found) > TAGS_MOST:
        raise TagsError(f"At most {TAGS_MOST} tags, these are {len(found)}; leave some out.")
    for tag in found:
        if not 0 < len(tag) <= TAG_CHARS:
            raise TagsError(
                f"A tag has 1 to {TAG_CHARS} characters, not {len(tag)};"
                " shorten it, and separate several by commas."
            )
        if not _TAG.fullmatch(tag) or tag != tag.strip():
            raise TagsError(
                f"{tag!a} is no tag; write letters a to z, digits, -_.:/ and spaces between."
            )
    return found
