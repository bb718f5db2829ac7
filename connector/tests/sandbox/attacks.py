"""The table of attacks: what a hostile command tries, and how one sees whether it came through.

$A is the arena (see arena.py). A row says which layers let it through as documented; none is let
through by bubblewrap.
"""

from dataclasses import dataclass

CANARY = "CANARY_7f3a"
LANDLOCK = "landlock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """It came through if one of these is so."""

    id: str
    what: str
    command: str
    says: str = ""  # in the output
    changes: str = ""  # a file outside is not as it was
    makes: str = ""  # a file is there
    plants: str = ""  # a file is there that a person's programs would obey
    reaches: str = ""  # a socket of the arena was spoken to
    leaves: str = ""  # a process with this in its command line is alive
    kills: bool = False  # the bystander is dead
    within_s: float = 10.0
    bare: bool = True  # it comes through without a sandbox
    gaps: frozenset[str] = frozenset()


def _reads(id_: str, what: str, command: str, **more: object) -> Attack:
    return Attack(id=id_, what=what, command=command, says=CANARY, **more)  # type: ignore[arg-type]


def _makes(id_: str, what: str, command: str) -> Attack:
    """It makes the file that is named after it."""
    return Attack(id=id_, what=what, command=command, makes=f"$A/outside/{id_.lower()}")


_PRELOAD = (
    "printf 'int _(){} __attribute__((constructor)) void f(){int creat(const char*,int);"
    'creat("$A/outside/x15",0644);}\' > e.c && gcc -shared -fPIC -o e.so e.c && LD_PRELOAD=./e.so ls'
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

READ = (
    _reads("R01", "absolute path", "cat $A/outside/secret.txt"),
    _reads("R02", "traversal", "cat ../outside/secret.txt"),
    _reads("R04", "symlinked file", "cat link_secret"),
    _reads("R05", "symlinked folder", "cat link_dir/secret.txt"),
    _reads("R07", "new symlink, then read", "ln -s $A/outside/secret.txt l2; cat l2"),
    _reads("R08", "home", "cat ~/.ssh/id_rsa $A/home/.ssh/id_rsa"),
    _reads("R10", "the connector's own key", "cat $A/home/.config/gw/token"),
    _reads("R11", "environment", "printenv SECRET_TOKEN"),
    _reads("R13", "environment of the parent", "cat /proc/$PPID/environ", bare=False),
    _reads("R14", "every environment", "cat /proc/[0-9]*/environ 2>/dev/null"),
    _reads(
        "R16",
        "folders and files of other processes",
        "for p in /proc/[0-9]*; do cat $p/cwd/../outside/secret.txt; cat $p/fd/* </dev/null; "
        "done 2>/dev/null",
        bare=False,
    ),
    _reads("R17", "passwd", f"cat /etc/passwd && grep -q root: /etc/passwd && echo {CANARY}"),
    _reads("R19", "search everywhere", f"grep -rs {CANARY} $A/outside $A/home | head -3"),
    _reads("R20", "bash itself reads", "echo $(<$A/outside/secret.txt)"),
    Attack(
        id="R21",
        what="the key in a command line",
        command="ps -eo args; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '",
        says="$T_bystander",
    ),
    _reads("R22", "the root of process 1", "cat /proc/1/root/$A/outside/secret.txt", bare=False),
    _reads("R23", "a hard link made here", "ln $A/outside/secret.txt h && cat h"),
)

WRITE = (
    Attack(id="W01", what="overwrite", command="echo x > $A/outside/victim.txt", changes="victim"),
    Attack(
        id="W02",
        what="authorized_keys",
        command="echo k >> $A/home/.ssh/authorized_keys",
        changes="keys",
    ),
    Attack(
        id="W04",
        what="a program on the PATH",
        command="printf x > $A/home/.local/bin/ls",
        makes="$A/home/.local/bin/ls",
    ),
    Attack(
        id="W05",
        what="autostart",
        command="printf x > $A/home/.config/autostart/e.desktop",
        makes="$A/home/.config/autostart/e.desktop",
    ),
    Attack(
        id="W07",
        what="through a hard link that is there",
        command="echo pwn > hard",
        changes="linked",
        gaps=frozenset({LANDLOCK}),
    ),
    Attack(
        id="W08",
        what="rename over",
        command="echo x>z; mv -f z $A/outside/victim.txt",
        changes="victim",
    ),
    Attack(
        id="W10",
        what="a git hook",
        command='echo "#!/bin/sh" > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit',
        plants=".git/hooks/pre-commit",
    ),
    Attack(
        id="W11",
        what="fsmonitor in the repository's settings",
        command='git config core.fsmonitor "touch $A/outside/p"',
        changes="git config",
    ),
    Attack(
        id="W12",
        what="a copy in place of .git",
        command='mv .git x && cp -r x .git && printf "[core]\\n\\tfsmonitor=x\\n" >> .git/config',
        changes="git config",
    ),
    Attack(id="W13", what="remove", command="rm -rf $A/outside/victim.txt", changes="victim"),
    Attack(id="W14", what="empty", command="truncate -s0 $A/outside/victim.txt", changes="victim"),
    Attack(
        id="W15",
        what="mode of a file outside",
        command="chmod 777 $A/outside/victim.txt",
        changes="mode of victim",
        gaps=frozenset({LANDLOCK}),
    ),
    Attack(
        id="W16",
        what="time of a file outside",
        command="touch -d @1 $A/outside/victim.txt",
        changes="time of victim",
        gaps=frozenset({LANDLOCK}),
    ),
    Attack(
        id="W17",
        what="an editor's tasks",
        command="mkdir -p .vscode; echo {} > .vscode/tasks.json",
        plants=".vscode/tasks.json",
    ),
    Attack(id="W18", what="direnv", command="echo x > .envrc", plants=".envrc"),
    Attack(
        id="W19",
        what="a setuid program",
        command="cp /bin/sh s; chmod 4755 s; ls -l s | grep -q rws && echo SUID",
        says="SUID",
    ),
    Attack(
        id="W20", what="the machine's /tmp", command="echo x > /tmp/$T_drop", makes="/tmp/$T_drop"
    ),
    Attack(
        id="W21",
        what="a program that is made setuid",
        command=(
            "python3 -c \"import os; os.close(os.open('u', os.O_CREAT|os.O_WRONLY, 0o4755))\"; "
            "install -m 4755 /bin/sh v; stat -c %a u v | grep -q ^4 && echo SUID"
        ),
        says="SUID",
    ),
    Attack(
        id="W22",
        what="another folder of settings for .git",
        command="mkdir e && cp .git/config e/ && echo ../e > .git/commondir",
        plants=".git/commondir",
    ),
    Attack(
        id="W23",
        what="a repository below",
        command="git init -q sub && git -C sub config core.fsmonitor x",
        plants="sub/.git/config",
    ),
    Attack(
        id="W24",
        what="a bare repository below",
        command="git init -q --bare b && git -C b config core.fsmonitor x",
        plants="b/config",
    ),
    Attack(
        id="W25",
        what="a copy in place of a folder with settings",
        command="mv pkg pkg2 && mkdir -p pkg/.vscode && echo bad > pkg/.vscode/tasks.json",
        plants="pkg/.vscode/tasks.json",
    ),
    Attack(
        id="W26",
        what="settings that are there",
        command="echo bad > pkg/.vscode/settings.json",
        changes="settings",
    ),
    Attack(
        id="W27",
        what="where the link for hooks leads",
        command="mkdir -p tools/hooks; echo bad > tools/hooks/post-commit",
        plants="tools/hooks/post-commit",
    ),
    Attack(
        id="W28",
        what="the same name in other letters",
        command="mkdir .VSCODE; echo bad > .VSCODE/tasks.json",
        plants=".VSCODE/tasks.json",
    ),
    Attack(
        id="W29",
        what="through a hard link made here",
        command="ln $A/outside/victim.txt h && echo x > h",
        changes="victim",
    ),
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
        command='setsid -f bash -c "exec -a $T_daemon sleep 30" >/dev/null 2>&1 </dev/null; echo ok',
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
        id="P23",
        what="another root folder",
        command="unshare -r true; mount -t tmpfs x . && echo MOUNTED; chroot . true && echo MOUNTED",
        says="MOUNTED",
        bare=False,
    ),
)

ATTACKS = READ + WRITE + EXECUTE + NETWORK + PROCESSES
