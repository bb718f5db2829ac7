"""Tags out of a header's value, or a refusal that says what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import tags

LONGEST = "a" * 50


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        (" , ,", ()),
        ("team-a", ("team-a",)),
        ("team-a, project:x", ("team-a", "project:x")),
        ("team-a,team-a , team-b", ("team-a", "team-b")),
        ("\tcost centre 7 ,", ("cost centre 7",)),
        ("a_b.c:d/e-F9", ("a_b.c:d/e-F9",)),
        (LONGEST, (LONGEST,)),
        (",".join("abcdefghij"), tuple("abcdefghij")),
        (", ".join(["a"] * 20), ("a",)),
        (", ".join(f"{n:050}" for n in range(10)), tuple(f"{n:050}" for n in range(10))),
    ],
)
def test_it_reads_tags(text: str, found: tuple[str, ...]) -> None:
    assert tags.parse(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (",".join("abcdefghijk"), "At most 10 tags, these are 11; leave some out."),
        ("a" * 51, "A tag has 1 to 50 characters, not 51; shorten it"),
        ("a" * 100_000, "100000 characters are too many; send at most 10 tags"),
        ("," * 100_000, "100000 characters are too many"),
        ("team-ä", r"'team-\xe4' is no tag; write letters"),
        ("a\0b", r"'a\x00b' is no tag"),
        ("a\nb", r"'a\nb' is no tag"),
        ("<b>", "'<b>' is no tag"),
        ("a\ud800", r"'a\ud800' is no tag"),
        ("\xa0", r"'\xa0' is no tag"),
        ("٣", r"'\u0663' is no tag"),
    ],
)
def test_it_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(tags.TagsError) as caught:
        tags.parse(text)
    assert str(caught.value).startswith(f"x-opscenter-tags: {said}")
    assert len(str(caught.value)) < 400
    assert str(caught.value).isascii()


@pytest.mark.parametrize("tag", ["", " ", "a ", " a", "a,b", "a\n"])
def test_it_takes_no_tag_that_a_header_could_not_say(tag: str) -> None:
    with pytest.raises(tags.TagsError):
        tags.checked([tag])


@given(st.text(max_size=1100))
def test_it_reads_or_refuses_but_never_breaks(text: str) -> None:
    try:
        found = tags.parse(text)
    except tags.TagsError:
        return
    assert tags.parse(", ".join(found)) == found
    assert tags.checked(found) == found
