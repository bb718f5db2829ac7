"""Attacks that hide what they run, speak to others, or get at processes and the kernel."""

from tests.sandbox.attacks import LANDLOCK, Attack


def _makes(id_: str, what: str, command: str) -> Attack:
    """It makes the file that is named after it."""
    return Attack(id=id_, what=what, command=command, makes=f"$A/outside/{id_.lower()}")


_PRELOAD = (
    "printf 'int _(){} __attribute__((constructor)) void f(){int creat(const char*,int);"
    'creat("$A/outside/x15",0644);}\' > e.c && '
    "gcc -shared -fPIC -o e.so e.c && LD_PRELOAD=./e.so ls"
)
_DOUBLE_FORK = """python3 - <<'P'
import os,time
if os.fork()==0:
 os.setsid()
 if os.fork()==0:
  for f in range(3): os.close(f)
  os.execv('/bin/bash',['bash','-c','exec -a $T_daemon2 sleep 30'])
 os._exit(0)
time.sleep(.2)
P"""
_CALLS = """python3 -c "
import ctypes
l=ctypes.CDLL(None,use_errno=True)
for n,a in ((425,(8,ctypes.create_string_buffer(200))),(321,(0,0,0)),(250,(0,-3,1)),(323,(1,)),\
(298,(0,0,0,0,0)),(101,(0,0,0,0))):
 r=l.syscall(n,*a); e=ctypes.get_errno(); print(n,r,e)
 if r>=0 or e not in (1,38): print('SYS_REACHED',n)" """
_KILL_BYSTANDER = (
    'pkill -f "^$T_bystander" ; kill $V 2>/dev/null; for p in $(ls /proc | grep -E "^[0-9]+$"); do '
    'tr "\\0" " " < /proc/$p/cmdline 2>/dev/null | grep -q "^$T_bystander" && kill -9 $p; done'
)

EXECUTE = (
    _makes("X02", "$IFS", "a=touch;$a${IFS}$A/outside/x02"),
    _makes("X03", "here-document", "bash <<'Z'\ntouch $A/outside/x03\nZ"),
    _makes(
        "X05", "eval of hexadecimals", "eval $(printf '\\x74\\x6f\\x75\\x63\\x68') $A/outside/x05"
    ),
    _makes("X06", "split quotes", "t''o\"u\"ch $A/outside/x06"),
    _makes("X08", "awk", "awk 'BEGIN{system(\"touch $A/outside/x08\")}'"),
    _makes("X09", "perl", "perl -e 'open F,\">$A/outside/x09\"'"),
    _makes("X11", "a pattern for a program", "/usr/b?n/t?uch $A/outside/x11"),
    _makes("X12", "an alias of git", 'git -c alias.x="!touch $A/outside/x12" x'),
    _makes(
        "X14",
        "tar's checkpoint",
        "tar cf /dev/null --checkpoint=1 --checkpoint-action=exec='touch $A/outside/x14' a.txt",
    ),
    _makes("X15", "LD_PRELOAD", _PRELOAD),
    _makes("X17", "env -S, setsid, nohup", 'env -S "setsid nohup touch $A/outside/x17"'),
    Attack(
        id="X18",
        what="a zero-width character",
        command="touch $A/outside/x18\u200b",
        makes="$A/outside/x18\u200b",
    ),
)

NETWORK = (
    Attack(id="N01", what="/dev/tcp", command="echo hi > /dev/tcp/127.0.0.1/$P", reaches="tcp"),
    Attack(id="N02", what="curl", command="curl -s -m 2 http://127.0.0.1:$P/", reaches="tcp"),
    Attack(id="N04", what="/dev/udp", command="echo x > /dev/udp/127.0.0.1/$U", reaches="udp"),
    Attack(
        id="N05",
        what="a socket file",
        command="python3 -c \"import socket;socket.socket(1).connect('$A/docker.sock')\"",
        reaches="unix",
    ),
    Attack(
        id="N06",
        what="a socket file in the folder",
        command="python3 -c \"import socket;socket.socket(1).connect('inner.sock')\"",
        reaches="inner",
    ),
    Attack(
        id="N07",
        what="an abstract socket",
        command="python3 -c \"import socket;socket.socket(1).connect('\\0$T_abstract')\"",
        reaches="abstract",
    ),
    Attack(
        id="N08",
        what="a name server",
        command=(
            'python3 -c "import socket;'
            "print(socket.socket(2,2).connect(('127.0.0.1',53)) or 'DNS_OK')\""
        ),
        says="DNS_OK",
    ),
    Attack(
        id="N10",
        what="listen",
        command=(
            "python3 -c \"import socket;s=socket.socket();s.bind(('127.0.0.1',0));"
            "s.listen();print('LISTEN_OK')\""
        ),
        says="LISTEN_OK",
    ),
)

PROCESSES = (
    Attack(id="P01", what="kill a program of the person", command=_KILL_BYSTANDER, kills=True),
    Attack(
        id="P03",
        what="a daemon",
        command='setsid -f bash -c "exec -a $T_daemon sleep 30" >/dev/null 2>&1 </dev/null',
        leaves="$T_daemon",
    ),
    Attack(id="P04", what="forked twice", command=_DOUBLE_FORK, leaves="$T_daemon2"),
    Attack(
        id="P06",
        what="ignore SIGTERM",
        command="trap '' TERM INT HUP; exec -a $T_deaf bash -c 'while :; do sleep .1; done'",
        leaves="$T_deaf",
        within_s=1.0,
        bare=False,
    ),
    Attack(
        id="P09",
        what="fill the disk",
        command="head -c 200M /dev/zero > big; [ $(stat -c %s big) -gt 199000000 ] && echo FILLED",
        says="FILLED",
    ),
    Attack(
        id="P12",
        what="wait for input",
        command="read x; echo got $x > waited",
        within_s=3.0,
        makes="$A/never",
        bare=False,
    ),
    Attack(id="P13", what="a user namespace", command="unshare -Ur id && echo NS_OK", says="NS_OK"),
    Attack(id="P15", what="dangerous system calls", command=_CALLS, says="SYS_REACHED"),
    Attack(
        id="P16",
        what="sudo",
        command="sudo -n id 2>&1; grep 'NoNewPrivs:.*0' /proc/self/status && echo MAY_RISE",
        says="MAY_RISE",
    ),
    Attack(
        id="P18",
        what="a terminal's clipboard",
        command="printf '\\033]52;c;ZXZpbA==\\a\\000\\033[2J'",
        says="\x1b",
    ),
    Attack(
        id="P19",
        what="many open files",
        command="python3 -c \"l=[open('/dev/null') for _ in range(900)];print('FDS_OK')\"",
        says="FDS_OK",
    ),
    Attack(
        id="P20",
        what="whether a file exists",
        command="stat -c %s $A/outside/secret.txt >/dev/null && echo STAT_OK",
        says="STAT_OK",
        gaps=frozenset({LANDLOCK}),
    ),
    Attack(
        id="P21",
        what="the machine's devices",
        command='cat /sys/class/net/lo/address && echo SYS_""OK',
        says="SYS_OK",
    ),
    Attack(
        id="P22",
        what="attach to a program of the person",
        command=(
            'python3 -c "import ctypes; l=ctypes.CDLL(None); '
            "print('TRACED' if l.ptrace(16, $V, 0, 0) == 0 else 'no')\""
        ),
        says="TRACED",
    ),
    Attack(
        id="P24",
        what="bounds of a program of the person",
        command="prlimit --pid $V --nofile=7:7",
        changes="limits",
    ),
    Attack(
        id="P25",
        what="priority of a program of the person",
        command="renice -n 15 -p $V; taskset -p -c 0 $V; ionice -c 3 -p $V",
        changes="priority",
    ),
    Attack(
        id="P27",
        what="priority of all programs of the person",
        command='python3 -c "import os; os.setpriority(os.PRIO_USER, 0, 1)"',
        changes="priority",
    ),
    Attack(
        id="P26",
        what="memory that belongs to nobody",
        command="ipcmk -M 4096 && ipcs -m && echo SHARED; ipcrm -a",
        says="SHARED",
    ),
    Attack(
        id="P23",
        what="another root folder",
        command="mount -t tmpfs x . && echo MOUNTED; chroot . true && echo MOUNTED",
        says="MOUNTED",
        bare=False,
    ),
)
