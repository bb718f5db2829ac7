"""A program that swaps pairs of names as fast as it can, until it is killed: the other side."""

import ctypes
import os
import sys
from pathlib import Path

AT_FDCWD, EXCHANGE = -100, 2


def main(*pairs: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    swap = libc.renameat2
    left_right = [tuple(os.fsencode(name) for name in pair.split("=")) for pair in pairs]
    print("begun", flush=True)  # noqa: T201  (to who waits for it)
    while True:
        for left, right in left_right:
            if swap(AT_FDCWD, left, AT_FDCWD, right, EXCHANGE) and ctypes.get_errno() != 2:
                sys.exit(os.strerror(ctypes.get_errno()))
        if not Path("go-on").exists():
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
