"""What a person sees of a call, and when their yes counts (A05)."""

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from opscenter_connector.policing.prompt import LOOK_S, Prompt
from opscenter_connector.policing.questions import Question
from opscenter_connector.policing.shown import Sheet
from tests.test_running import END_S, environ


def question(number: int = 1, **arguments: Any) -> Question:
    return Question(
        id=f"0193-000{number}",
        fence=1,
        digest=f"d{number}",
        server="local",
        tool="bash",
        arguments=arguments or {"command": "make"},
        reason="no sandbox holds commands here",
        facts=(("sandbox", "none"),),
    )


def seen(width: int = 40, **arguments: Any) -> list[str]:
    sheet = Sheet(question(**arguments), width)
    return [row.plain for row in sheet.rows(0, sheet.count)]


def test_it_shows_what_runs_where_and_why() -> None:
    assert seen(command="make test", cwd="/ws") == [
        "local.bash",
        "no sandbox holds commands here",
        "sandbox: none",
        "command: make test",
        "cwd: /ws",
    ]


@pytest.mark.parametrize("width", [20, 40, 79, 200])
@pytest.mark.parametrize("filler", ["x", "x ", "é", "\u754c", "\x1b", "\u200b", "e\u0301", "\n"])
def test_nothing_is_cut_off_however_long_it_is(width: int, filler: str) -> None:
    rows = seen(width, command=filler * 3000 + "; rm -rf tail")
    assert all(cell_len(row) <= width for row in rows)
    told = "".join(row.removeprefix("  ") for row in rows)
    told = told[told.index("command:") :]
    assert told.endswith("; rm -rf tail")
    if filler in "x é\u754c":
        assert told.count(filler) == 3000


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("\x1b[2J", "«U+001B»[2J"),
        ("\r", "«U+000D»"),
        ("\x08", "«U+0008»"),
        ("\t", "«U+0009»"),
        ("\0", "«U+0000»"),
        ("\x7f", "«U+007F»"),
        ("\x9b", "«U+009B»"),
        ("\u202e", "«U+202E»"),
        ("\u2066", "«U+2066»"),
        ("\u200b", "«U+200B»"),
        ("\ufeff", "«U+FEFF»"),
        ("\u00a0", "«U+00A0»"),
        ("\u2028", "«U+2028»"),
        ("\u0301", "«U+0301»"),
        ("\u3164", "«U+3164»"),  # a letter, says Unicode, and nobody sees it
        ("\U000e0041", "«U+E0041»"),
        ("\ud800", "«U+D800»"),
        ("\ue000", "«U+E000»"),
        (" " * 40, "«40 spaces»"),
    ],
)
def test_nothing_can_hide(hidden: str, shown: str) -> None:
    rows = seen(200, command=f"a{hidden}b")
    assert f"command: a{shown}b" in rows
    assert ("1 signs in it cannot be seen" in str(rows)) == shown.startswith("«")
    assert f"{shown}: x" in seen(200, **{hidden: "x"})


def test_a_text_that_looks_like_a_mark_is_no_mark() -> None:
    sheet = Sheet(question(command="«U+202E»\u202e"), 80)
    row = sheet.rows(sheet.count - 1, sheet.count)[0]
    assert row.plain == "command: «U+202E»«U+202E»"
    styles = [row.get_style_at_offset(_console(), at).bgcolor is not None for at in (9, 17)]
    assert styles == [False, True]


def _console() -> Any:
    from rich.console import Console

    return Console()


def test_each_line_shows_its_end() -> None:
    assert seen(command="a\n\nb\n")[3:] == ["command:", "  a⏎", "  ⏎", "  b⏎"]
    assert seen(command="")[3:] == ["command:", "  (empty)"]
    assert seen(n={"a": [1, "x"]})[3:] == [
        "n:",
        "  {⏎",
        '   "a": [⏎',
        "    1,⏎",
        '    "x"⏎',
        "   ]⏎",
        "  }",
    ]


class Asked:
    """A prompt, its screen and its clock."""

    def __init__(self, *questions: Question, height: int = 20) -> None:
        self.said: list[tuple[str, bool]] = []
        self.prompt = Prompt(lambda one, approve: self.said.append((one.id, approve)))
        self.height, self.now_s = height, 100.0
        for one in questions:
            self.prompt.ask(one)
        self.rows = self.look()

    def look(self, width: int = 60) -> list[str]:
        rows = self.prompt.rows(width, self.height, now_s=self.now_s)
        return [row.plain for row in rows]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.prompt.key(key, now_s=self.now_s)
            self.rows = self.look()


def test_a_yes_and_a_no_are_for_the_one_that_is_shown() -> None:
    asked = Asked(question(1), question(2), question(3))
    assert "#0001" in asked.rows[0]
    assert asked.rows[-1] == "y runs it once · n refuses it · 2 questions more"
    asked.now_s += LOOK_S
    asked.press("y")
    assert "#0002" in asked.rows[0]
    asked.now_s += LOOK_S
    asked.press("N")
    asked.now_s += LOOK_S
    asked.press("x", "\x1b", "q", "Y")
    assert asked.said == [("0193-0001", True), ("0193-0002", False), ("0193-0003", True)]
    assert asked.rows == []
    asked.press("y")
    assert len(asked.said) == 3


def test_a_key_meant_for_the_question_before_is_not_taken() -> None:
    asked = Asked(question(1), question(2))
    asked.now_s += LOOK_S
    asked.prompt.settled("0193-0001")  # somebody else was faster, and the next one takes its place
    asked.press("y")
    asked.look()
    asked.now_s += LOOK_S / 2
    asked.press("y", "n")
    assert asked.said == []
    asked.now_s += LOOK_S
    asked.press("y")
    assert asked.said == [("0193-0002", True)]


def test_a_yes_counts_when_all_of_it_has_been_shown() -> None:
    asked = Asked(question(command="x" * 1000 + "TAIL"), height=8)
    asked.now_s += LOOK_S
    asked.press("y")
    assert asked.said == []
    assert asked.rows[-1].startswith("space shows the rest, then y can be said")
    shown = ""
    while "y runs" not in asked.rows[-1]:
        shown += "".join(asked.rows[1:-1])
        assert len(asked.rows) < asked.height
        asked.press(" ")
    assert (shown + "".join(asked.rows[1:-1])).endswith("x" * 1000 + "TAIL")
    assert "(page 5 of 5)" in asked.rows[0]
    asked.press("b", "y")
    assert asked.said == [("0193-0001", True)]


def test_another_size_begins_at_the_first_page_again() -> None:
    asked = Asked(question(command="x" * 1000 + "TAIL"), height=8)
    asked.now_s += LOOK_S
    asked.press(" ", " ", " ", " ")
    assert "y runs" in asked.rows[-1]
    asked.height = 7
    asked.rows = asked.look()
    asked.press("y")
    assert (asked.said, "(page 1 of 6)" in asked.rows[0]) == ([], True)


def test_a_long_question_can_be_refused_unread() -> None:
    asked = Asked(question(command="x\n" * 1000), height=8)
    asked.now_s += LOOK_S
    asked.press("n")
    assert asked.said == [("0193-0001", False)]


def test_the_same_call_asked_anew_is_read_anew() -> None:
    asked = Asked(question(1))
    asked.now_s += LOOK_S
    asked.prompt.ask(question(1, command="another"))
    asked.press("y")
    assert asked.said == []
    assert "command: another" in asked.rows


def test_a_person_answers_with_one_key_and_the_terminal_is_as_it_was(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scripted", "asks"],
        cwd=tmp_path,
        env=environ(tmp_path, COLUMNS="70", LINES="16"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    shown = ""
    try:
        # Pasted, too early or unread: none of it is an answer.
        shown += _until(ours, "#0000", send="yes\n")
        shown += _until(ours, "page 2 of", send=" ")
        shown += _until(ours, "THE TAIL", send=" ")
        shown += _until(ours, "#0001", send="y")
        shown += _until(ours, "False", send="n")
        assert process.wait(END_S) == 0
        after = termios.tcgetattr(theirs)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
    assert "id-0000 digest0 True, id-0001 digest1 False" in shown.replace("\r\n", "")
    assert "\x1b[2J" not in shown
    assert "«U+001B»[2J«U+202E»" in re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "\u202e" not in shown
    assert after[3] == before[3]


def _until(terminal: int, text: str, *, send: str) -> str:
    """Send that now and then until the screen says `text`."""
    import select

    shown = ""
    for _ in range(END_S):
        if text in shown:
            return shown
        os.write(terminal, send.encode())
        while select.select([terminal], [], [], 1.0)[0] and text not in shown:
            shown += os.read(terminal, 4096).decode(errors="replace")
    raise AssertionError(f"{text!r} is not shown: {shown!r}")
