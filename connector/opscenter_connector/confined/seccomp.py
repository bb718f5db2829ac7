"""The filter of system calls that every confined command gets, as a BPF program (pure)."""

import errno
import struct
from dataclasses import dataclass, field

# Calls that a build or a test has no use for, and an escape has: other processes' memory, mounts,
# namespaces, kernel modules, keys, clocks, memory of nobody's, and rings that would carry calls
# past this filter.
REFUSED = {
    "x86_64": {
        "uselib": 134, "modify_ldt": 154,
        "ptrace": 101, "syslog": 103, "personality": 135, "vhangup": 153, "pivot_root": 155,
        "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165,
        "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170,
        "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175,
        "delete_module": 176, "quotactl": 179, "lookup_dcookie": 212, "clock_settime": 227,
        "mbind": 237, "set_mempolicy": 238, "kexec_load": 246, "add_key": 248,
        "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272,
        "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300,
        "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313,
        "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
        "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66,
        "shmdt": 67, "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "semtimedop": 220,
        "mq_open": 240, "mq_unlink": 241,
    },
    "aarch64": {
        "ptrace": 117, "syslog": 116, "personality": 92, "vhangup": 58, "pivot_root": 41,
        "adjtimex": 171, "chroot": 51, "acct": 89, "settimeofday": 170, "mount": 40,
        "umount2": 39, "swapon": 224, "swapoff": 225, "reboot": 142, "sethostname": 161,
        "setdomainname": 162, "init_module": 105, "delete_module": 106, "quotactl": 60,
        "lookup_dcookie": 18, "clock_settime": 112, "mbind": 235, "set_mempolicy": 237,
        "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219,
        "migrate_pages": 238, "unshare": 97, "move_pages": 239, "perf_event_open": 241,
        "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
        "kcmp": 272, "finit_module": 273, "kexec_file_load": 294, "bpf": 280, "userfaultfd": 282,
        "mq_open": 180, "mq_unlink": 181, "msgget": 186, "msgctl": 187, "msgrcv": 188,
        "msgsnd": 189, "semget": 190, "semctl": 191, "semtimedop": 192, "semop": 193,
        "shmget": 194, "shmctl": 195, "shmat": 196, "shmdt": 197,
    },
}  # fmt: skip
# The same number on every architecture since 424.
REFUSED_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
    "open_tree_attr": 467,
}  # fmt: skip
CLONE3, OPENAT2, FCHMODAT2 = 435, 437, 452

ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000  # the bit of x86-64's second set of numbers, which would miss ours
# CLONE_NEW*: time, mount, cgroup, uts, ipc, user, pid, net.
NAMESPACES = 0x80 | 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000
NAMESPACES |= 0x40000000
SETUID_SETGID = 0o6000
CREATES = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: they type into a terminal
PRIO_PROCESS, IOPRIO_WHO_PROCESS = 0, 1

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The calls whose arguments are looked at; the positions are those of the arguments."""

    clone: int
    ioctl: int
    socket: int
    modes: tuple[tuple[int, int], ...]  # call, argument that is a mode
    opens: tuple[tuple[int, int, int], ...]  # call, argument of flags, argument of mode
    # Call, argument, and its only value that does not mean other processes.
    others: tuple[tuple[int, int, int], ...]


NUMBERS = {
    "x86_64": Numbers(
        clone=56,
        ioctl=16,
        socket=41,
        # creat, chmod, fchmod, mknod, mknodat, fchmodat, fchmodat2
        modes=((85, 1), (90, 1), (91, 1), (133, 1), (259, 2), (268, 2), (FCHMODAT2, 2)),
        opens=((2, 1, 2), (257, 2, 3)),  # open, openat
        # prlimit64, sched_set{param,scheduler,affinity,attr}; setpriority, ioprio_set: whose, and
        # that it is one process, for 0 is also the person as a whole
        others=(
            *((302, 0, 0), (142, 0, 0), (144, 0, 0), (203, 0, 0), (314, 0, 0)),
            *((141, 1, 0), (141, 0, PRIO_PROCESS), (251, 1, 0), (251, 0, IOPRIO_WHO_PROCESS)),
        ),
    ),
    "aarch64": Numbers(
        clone=220,
        ioctl=29,
        socket=198,
        modes=((33, 2), (52, 1), (53, 2), (FCHMODAT2, 2)),  # mknodat, fchmod, fchmodat, fchmodat2
        opens=((56, 2, 3),),  # openat
        others=(
            *((261, 0, 0), (118, 0, 0), (119, 0, 0), (122, 0, 0), (274, 0, 0)),
            *((140, 1, 0), (140, 0, PRIO_PROCESS), (30, 1, 0), (30, 0, IOPRIO_WHO_PROCESS)),
        ),
    ),
}


@dataclass(slots=True)
class _Program:
    lines: list[tuple[int, int, int, int]] = field(default_factory=list)

    def add(self, code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> None:
        self.lines.append((code, if_true, if_false, value))

    def load(self, offset: int) -> None:
        self.add(_LOAD, offset)

    def load_argument(self, position: int) -> None:
        self.load(_ARGUMENTS_AT + 8 * position)

    def answer(self, number: int, verdict: int) -> None:
        """What a call gets, whatever its arguments."""
        self.add(_EQUAL, number, if_false=1)
        self.add(_RETURN, verdict)

    def when(self, number: int, body: "_Program") -> None:
        """`body` for a call, which comes out of it with the number loaded again."""
        self.add(_EQUAL, number, if_false=len(body.lines) + 1)
        self.lines += body.lines
        self.load(_NUMBER_AT)

    def assembled(self) -> bytes:
        return b"".join(struct.pack("HBBI", *line) for line in self.lines)


def program(machine: str, *, alone: bool) -> bytes:
    """The filter for such a machine. Raises KeyError where it is not known.

    One that is not `alone` sees the person's other processes, and may change nothing of them.
    """
    numbers = NUMBERS[machine]
    made = _Program()
    made.load(_ARCHITECTURE_AT)
    made.add(_EQUAL, ARCHITECTURE[machine], if_true=1)
    made.add(_RETURN, _KILL)
    made.load(_NUMBER_AT)
    if machine == "x86_64":
        made.add(_AT_LEAST, X32, if_false=1)
        made.add(_RETURN, _KILL)
    for number in (*REFUSED[machine].values(), *REFUSED_EVERYWHERE.values()):
        made.answer(number, _ERROR | errno.EPERM)
    # Their arguments stand in memory, which a filter cannot read: libc does without them.
    made.answer(CLONE3, _ERROR | errno.ENOSYS)
    made.answer(OPENAT2, _ERROR | errno.ENOSYS)
    # No family at all: no network, no socket file, no netlink. Pairs have no address.
    made.answer(numbers.socket, _ERROR | errno.EPERM)
    made.when(numbers.clone, _refuse_bits(0, NAMESPACES))
    for number, mode in numbers.modes:
        made.when(number, _refuse_bits(mode, SETUID_SETGID))
    for number, flags, mode in numbers.opens:
        made.when(number, _refuse_created_setuid(flags, mode))
    for number, position, own in () if alone else numbers.others:
        made.when(number, _refuse_unless(position, own))
    made.when(numbers.ioctl, _refuse_values(1, TERMINAL_INPUT))
    made.add(_RETURN, _ALLOW)
    return made.assembled()


def _refuse_bits(position: int, bits: int) -> _Program:
    made = _Program()
    made.load_argument(position)
    made.add(_ANY_BIT, bits, if_false=1)
    made.add(_RETURN, _ERROR | errno.EPERM)
    return made


def _refuse_unless(position: int, value: int) -> _Program:
    made = _Program()
    made.load_argument(position)
    made.add(_EQUAL, value, if_true=1)
    made.add(_RETURN, _ERROR | errno.EPERM)
    return made


def _refuse_created_setuid(flags: int, mode: int) -> _Program:
    """Where nothing is created the mode is whatever the register held."""
    made = _Program()
    made.load_argument(flags)
    made.add(_ANY_BIT, CREATES, if_false=3)
    made.load_argument(mode)
    made.add(_ANY_BIT, SETUID_SETGID, if_false=1)
    made.add(_RETURN, _ERROR | errno.EPERM)
    return made


def _refuse_values(position: int, values: tuple[int, ...]) -> _Program:
    made = _Program()
    made.load_argument(position)
    for value in values:
        made.answer(value, _ERROR | errno.EPERM)
    return made
