"""Which commands are refused out of courtesy, and which look like one and are not."""

import time

import pytest

from opscenter_connector.sandbox.objections import objection

DESTRUCTIVE = [
    "rm -rf /",
    "rm -rf /*",
    "rm -fr //",
    "rm -r -f /usr/../",
    "rm --recursive --force ~",
    "rm -rf ~/",
    'rm -rf "$HOME"',
    "rm -rf ${HOME}/*",
    "rm -rf ..",
    "rm -rf .git",
    "rm -Rf /etc",
    "/bin/rm -rf /",
    "r''m -rf /",
    "\\rm -rf /",
    "sudo rm -rf /",
    "sudo -n env A=1 nice -n 5 rm -rf /",
    "true && (cd /; rm -rf /home)",
    "echo $(rm -rf ~)",
    "if true; then rm -rf /; fi",
    "for d in 1 2; do rm -rf /var; done",
    'bash -c "rm -rf /"',
    "sh -ec 'sudo bash -c \"rm -rf /\"'",
    "eval rm -rf /",
    "timeout 5 rm -rf /",
    "rm --no-preserve-root -r x",
    "find / -delete",
    "find ~ -type f -exec rm {} +",
    "dd if=/dev/zero of=/dev/sda bs=1M",
    "dd of=/dev/nvme0n1 if=image",
    "mkfs.ext4 /dev/sda1",
    "sudo mkfs -t xfs /dev/vdb",
    "wipefs -a /dev/sda",
    "cat image > /dev/sda",
    "echo x >| /dev/mapper/root",
    "shred /dev/sda",
    "chmod -R 777 /",
    "chown -R me:me /usr",
    "mv ~ /tmp/x",
    "mv notes.txt /dev/null",
    ":(){ :|:& };:",
    "bomb() { bomb | bomb & }; bomb",
    "shutdown -h now",
    "reboot",
    "kill -9 -1",
    "crontab -r",
    "cryptsetup luksFormat /dev/sda2",
    "format C:",
    "parted /dev/sda mklabel gpt",
]

ORDINARY = [
    "npm run format",
    "cargo fmt && npm run format -- --check",
    "format --check .",
    "black --format x",
    "git log --format=%s",
    "rm -rf build node_modules dist",
    "rm -rf ./build/*",
    "rm -rf *",
    "rm -f /tmp/x",
    "rm notes.txt",
    "rm -rf $TMPDIR/x /var/tmp/mine",
    "rm -rf ~/project/target",
    'echo "rm -rf /"',
    "grep -r 'rm -rf /' .",
    "git commit -m 'do not rm -rf / again; mkfs is gone'",
    "cat <<'X'\nrm -rf /\nX",
    "# rm -rf /",
    "dd if=/dev/zero of=disk.img bs=1M count=10",
    "dd if=in of=/dev/null",
    "ls > /dev/null 2>&1",
    "echo x > /dev/stderr",
    "fdisk -l",
    "mkfs.ext4 --help",
    "chmod -R u+w build",
    "chmod 644 /etc/hosts",
    "find . -name '*.pyc' -delete",
    "find / -name x",
    "kill -9 1234",
    "kill -1 1234",
    "crontab -l",
    "f() { f2 | f3 & }; f",
    "walk() { for x in $1/*; do walk $x; done; }; walk .",
    "python manage.py shutdown_workers",
    "./reboot-tests.sh",
    "make format",
    "",
    "   ",
    "'",
    "if then ((",
    "echo $((",
    "\x00\x01",
    "ü" * 1000,
]


@pytest.mark.parametrize("command", DESTRUCTIVE)
def test_it_refuses(command: str) -> None:
    reason = objection(command)
    assert reason, command
    assert "\n" not in reason


@pytest.mark.parametrize("command", ORDINARY)
def test_it_lets_pass(command: str) -> None:
    assert objection(command) is None


@pytest.mark.parametrize(
    "part", ["(", "$(", "{ ", "a|", "'", '"$(', "if true; then ", "((", "<<X\n"]
)
def test_it_stands_what_is_nested_and_long(part: str) -> None:
    began_s = time.process_time()  # not of a clock on the wall: the machine may be busy
    objection(part * 20_000 + "true")
    assert time.process_time() - began_s < 10  # unbounded it would be minutes


def test_it_is_no_boundary() -> None:
    """Said in the documents as well: whoever hides a command passes."""
    assert objection("$(printf '\\162\\155') -rf /") is None
    assert objection("python3 -c 'import shutil; shutil.rmtree(\"/\")'") is None
