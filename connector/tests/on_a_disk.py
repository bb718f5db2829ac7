"""A program for a namespace of its own: mounts a small disk at `argv[1]` and writes there."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.allowed import Tools


async def main(folder: Path, options: str) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    (folder / "old").write_text("bread")
    if options:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
    tools = Tools(folder)
    content = "x" * 100_000 if options else "x" * 1_000_000
    results = {
        "new": await tools("write_file", path="a/b/new", content=content),
        "over": await tools("write_file", path="old", content=content),
        "edit": await tools("edit_file", path="old", old_string="bread", new_string=content),
        "read": await tools("read_file", path="old"),
        "list": await tools("list_directory"),
    }
    print(json.dumps(results))  # noqa: T201  (to the test that has started this)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
