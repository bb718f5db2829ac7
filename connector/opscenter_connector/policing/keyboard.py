"""Keys as they are pressed, without waiting for the end of a line, while somebody is asked."""

import asyncio
import errno
import os
import signal
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MAX_BYTES = 4096  # as many as a terminal keeps: what was pasted comes in one piece, and is no key


class Keyboard:
    """The terminal at `descriptor`. On only while it is needed: it is the shell's, too."""

    def __init__(self, descriptor: int, pressed: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._pressed = pressed
        self._before: list[Any] | None = None
        self._wanted = False

    def serve(self) -> None:
        """On the event loop: it looks again when the shell gives the terminal back."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, self._resumed)

    def on(self) -> None:
        """Keys come one by one, from now on: what was typed before is thrown away."""
        self._wanted = True
        if self._before is not None or not self._is_ours():
            return
        with suppress(termios.error, OSError):
            before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor, termios.TCSAFLUSH)
            self._before = before
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def off(self) -> None:
        """As it was."""
        self._wanted = False
        self._let_go()

    def close(self) -> None:
        """Also where the event loop is gone already."""
        if self._before is not None and self._is_ours():
            with suppress(termios.error, OSError):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        self._before = None

    def _let_go(self) -> None:
        if self._before is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self.close()

    def _resumed(self) -> None:
        """After Ctrl-Z and fg: the shell has set the terminal as it likes it."""
        if self._before is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._before = None
        if self._wanted:
            self.on()

    def _is_ours(self) -> bool:
        """In the background the system would stop this program for touching the terminal."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError as error:
            return error.errno == errno.ENOTTY  # nobody's: there is no background either

    def _read(self) -> None:
        if not self._is_ours():
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._before = None
            return
        try:
            said = os.read(self._descriptor, MAX_BYTES)
        except OSError:
            said = b""
        if not said:  # the terminal has gone
            self._let_go()
            return
        self._pressed(said.decode("utf-8", "replace"))
