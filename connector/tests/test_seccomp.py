"""The filter of system calls, for both kinds of machine, by a reading of its program."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from opscenter_connector.confined import seccomp

KILL, EPERM, ENOSYS, ALLOW = 0x80000000, 0x00050001, 0x00050026, 0x7FFF0000
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
MACHINES = tuple(HEADERS)


def verdict(
    machine: str,
    number: int,
    *arguments: int,
    architecture: int | None = None,
    alone: bool = True,
) -> int:
    """What the kernel would make of the program for such a call."""
    code = seccomp.program(machine, alone=alone)
    lines = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]
    architecture = seccomp.ARCHITECTURE[machine] if architecture is None else architecture
    six = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *six)
    value = at = 0
    while True:
        operation, if_true, if_false, operand = lines[at]
        at += 1
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x06:
            return int(operand)
        else:
            held = {
                0x15: value == operand,
                0x35: value >= operand,
                0x45: bool(value & operand),
            }[operation]
            at += if_true if held else if_false


@pytest.mark.parametrize("machine", MACHINES)
def test_it_refuses_what_an_escape_needs(machine: str) -> None:
    numbers = {**seccomp.REFUSED[machine], **seccomp.REFUSED_EVERYWHERE}
    assert {name for name, number in numbers.items() if verdict(machine, number) != EPERM} == set()
    assert verdict(machine, seccomp.CLONE3) == ENOSYS
    assert verdict(machine, seccomp.OPENAT2) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_it_allows_the_rest(machine: str) -> None:
    known = {**seccomp.REFUSED[machine], **seccomp.REFUSED_EVERYWHERE}
    numbers = seccomp.NUMBERS[machine]
    judged = {*known.values(), seccomp.CLONE3, seccomp.OPENAT2, numbers.socket}
    refused = {n for n in range(460) if verdict(machine, n) != ALLOW}
    assert refused == {n for n in judged if n < 460}


@pytest.mark.parametrize("machine", MACHINES)
def test_it_kills_calls_of_another_machine(machine: str) -> None:
    assert verdict(machine, 0, architecture=0x40000003) == KILL
    if machine == "x86_64":
        assert verdict(machine, 1 | 0x40000000) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_it_refuses_namespaces_and_not_threads(machine: str) -> None:
    clone = seccomp.NUMBERS[machine].clone
    assert verdict(machine, clone, 0x10000000) == EPERM
    assert verdict(machine, clone, 0x20000000 | 0x11) == EPERM
    assert verdict(machine, clone, 0x3D0F00) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_it_refuses_setuid_however_it_is_set(machine: str) -> None:
    numbers = seccomp.NUMBERS[machine]
    for number, position in numbers.modes:
        given = [0] * position
        assert verdict(machine, number, *given, 0o104755) == EPERM
        assert verdict(machine, number, *given, 0o102755) == EPERM
        assert verdict(machine, number, *given, 0o101755) == ALLOW
    for number, flags, mode in numbers.opens:
        given = [0] * 6
        given[flags], given[mode] = 0o101, 0o4755
        assert verdict(machine, number, *given) == EPERM
        given[flags] = 0o1  # nothing is created: the register holds anything
        assert verdict(machine, number, *given) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_who_is_not_alone_changes_nothing_of_others(machine: str) -> None:
    others = seccomp.NUMBERS[machine].others
    for number in {number for number, _, _ in others}:
        own = [0] * 6
        for _, position, value in (one for one in others if one[0] == number):
            own[position] = value
        assert verdict(machine, number, *own, alone=False) == ALLOW
        for _, position, _ in (one for one in others if one[0] == number):
            other = [*own[:position], 1234, *own[position + 1 :]]
            assert verdict(machine, number, *other, alone=False) == EPERM
            assert verdict(machine, number, *other, alone=True) == ALLOW


@pytest.mark.parametrize(
    ("machine", "setpriority", "ioprio_set"), [("x86_64", 141, 251), ("aarch64", 140, 30)]
)
def test_nobody_means_all_programs_of_the_person_by_zero(
    machine: str, setpriority: int, ioprio_set: int
) -> None:
    user, group = (2, 3), (1, 2)  # PRIO_USER and IOPRIO_WHO_USER, …_PGRP
    for of_setpriority, of_ioprio_set in (user, group):
        assert verdict(machine, setpriority, of_setpriority, 0, 15, alone=False) == EPERM
        assert verdict(machine, ioprio_set, of_ioprio_set, 0, 0, alone=False) == EPERM
    assert verdict(machine, setpriority, 0, 0, 15, alone=False) == ALLOW
    assert verdict(machine, ioprio_set, 1, 0, 0, alone=False) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_it_refuses_typing_into_a_terminal(machine: str) -> None:
    ioctl = seccomp.NUMBERS[machine].ioctl
    assert verdict(machine, ioctl, 0, 0x5412) == EPERM
    assert verdict(machine, ioctl, 0, 0x541C) == EPERM
    assert verdict(machine, ioctl, 0, 0x5401) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_its_numbers_are_the_kernels(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header} is not here: install linux-libc-dev")
    said = dict(defined(header.read_text()))
    ours = {**seccomp.REFUSED[machine], **seccomp.REFUSED_EVERYWHERE}
    wrong = {name: number for name, number in ours.items() if said.get(name, number) != number}
    assert wrong == {}
    # The header of this machine may be older than the newest call.
    assert len(ours.keys() & said.keys()) > len(ours) - 4
    numbers = seccomp.NUMBERS[machine]
    assert (numbers.clone, numbers.ioctl) == (said["clone"], said["ioctl"])
    assert numbers.socket == said["socket"]


def defined(text: str) -> Iterator[tuple[str, int]]:
    for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text):
        yield name, int(number)
