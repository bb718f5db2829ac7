"""What it is for: small projects are built, tested and committed inside."""

from pathlib import Path

import pytest

from tests.sandbox.arena import Arena
from tests.sandbox.person import Person

pytestmark = pytest.mark.real

C_PROJECT = r"""
set -e
mkdir -p src tests
cat > src/sum.c <<'X'
int sum(const int *of, int count) { int all = 0; while (count--) all += *of++; return all; }
X
cat > tests/test.c <<'X'
#include <assert.h>
#include <stdio.h>
int sum(const int *of, int count);
int main(void) { int of[] = {1, 2, 3}; assert(sum(of, 3) == 6); puts("1 test passed"); return 0; }
X
printf 'test: t\n\t./t\nt: src/sum.c tests/test.c\n\t$(CC) -Wall -O2 -o $@ $^\n' > Makefile
printf 't\n' > .gitignore
make -j4 test
git checkout -q -b work
git add . && git commit -qm 'sum, and its test'
sed -i 's/all += /all -= -/' src/sum.c
make test
git commit -qam 'another way'
git log --oneline | wc -l
git diff --stat HEAD~1 | tail -1
git stash list; git branch; git tag v1; git gc -q; git fsck 2>&1 | tail -1
git status --short
"""

PYTHON_PROJECT = r"""
set -e
mkdir -p counting
cat > counting/__init__.py <<'X'
from concurrent.futures import ThreadPoolExecutor
def square(n): return n * n
def squares(numbers):
    with ThreadPoolExecutor(2) as pool: return list(pool.map(square, numbers))
X
cat > test_counting.py <<'X'
import asyncio, subprocess, sys, tempfile, unittest
from counting import squares
class Counting(unittest.TestCase):
    def test_squares(self): self.assertEqual(squares([1, 2, 3]), [1, 4, 9])
    def test_processes(self):
        said = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True)
        self.assertEqual(said.stdout, "1\n")
    def test_loop(self):
        async def one(): return await asyncio.to_thread(lambda: 7)
        self.assertEqual(asyncio.run(one()), 7)
    def test_temporary(self):
        with tempfile.NamedTemporaryFile() as f: f.write(b"x")
if __name__ == "__main__": unittest.main()
X
python3 -m venv --without-pip .venv
.venv/bin/python -m unittest 2>&1 | tail -3
printf '.venv\n__pycache__\n' > .gitignore
git add . && git commit -qm 'squares' && git log --oneline | wc -l
git status --short
"""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (C_PROJECT, ["1 test passed", "3\n", "1 file changed", "* work"]),
        (PYTHON_PROJECT, ["Ran 4 tests", "OK"]),
    ],
    ids=["C", "Python"],
)
def test_it_builds_tests_and_commits(
    command: str, says: list[str], layer: str, folder: Path, person: Person
) -> None:
    _clear(folder)
    found = person.run(layer, folder, command, within_s=60)
    assert (found["returncode"], found["ended"]) == (0, "exit"), found
    for text in says:
        assert text in found["stdout"], found
    assert found["quarantined"] == []
    assert found["stderr"] == ""


@pytest.mark.usefixtures("bubblewrapped")
def test_a_pool_of_processes_works_where_there_is_shared_memory(
    folder: Path, person: Person
) -> None:
    code = "import multiprocessing as m; print(m.Pool(2).map(abs, [-1, -2]))"
    found = person.run("bubblewrap", folder, f"python3 -c '{code}'")
    assert found["stdout"] == "[1, 2]\n", found


def test_its_commits_are_there_outside(layer: str, here: Arena, person: Person) -> None:
    _clear(here.workspace)
    person.run(layer, here.workspace, "echo x > new && git add new && git commit -qm inside")
    found = person.ask(
        op="bare", cwd=here.workspace, command="git log -1 --format='%s by %an'", within_s=10
    )
    assert found["stdout"] == "inside by Ops-Center agent\n"


def _clear(folder: Path) -> None:
    """A work tree without the snares of the attacks."""
    for name in ("link_secret", "link_dir", ".husky", "hard", "inner.sock"):
        (folder / name).unlink()
