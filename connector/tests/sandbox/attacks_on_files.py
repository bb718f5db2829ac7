"""Attacks that read or write what they should not, or plant what a person's programs obey."""

from tests.sandbox.attacks import CANARY, LANDLOCK, Attack


def _reads(id_: str, what: str, command: str, **more: object) -> Attack:
    return Attack(id=id_, what=what, command=command, says=CANARY, **more)  # type: ignore[arg-type]


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
    _reads(
        "R24",
        "files that the connector's starter left open",
        "for n in {3..99}; do cat <&$n; cat /dev/fd/$n/secret.txt; done 2>/dev/null",
    ),
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
        id="W30",
        what="in a folder that cannot be listed",
        command="mkdir -p c/d/.vscode; echo x > c/d/.vscode/tasks.json; chmod 311 c/d; chmod 311 c",
        plants="c/d/.vscode/tasks.json",
    ),
    Attack(
        id="W31",
        what="settings too large to be kept",
        command="head -c 400000 /dev/zero > pkg/.vscode/tasks.json",
        plants="pkg/.vscode/tasks.json",
    ),
    Attack(
        id="W32",
        what="settings that the repository's settings include",
        command="echo '[core] fsmonitor = x' > shared.config",
        plants="shared.config",
    ),
    Attack(
        id="W33",
        what="in the allowed folder, closed as a whole",
        command="mkdir .idea; echo x > .idea/workspace.xml; chmod 000 .",
        plants=".idea/workspace.xml",
    ),
    Attack(
        id="W34",
        what="beside a folder of a thousand levels",
        command=(
            "echo x > .envrc; cd pkg/.vscode 2>/dev/null; "
            "d=$(printf 'a/%.0s' {1..1500}); mkdir -p $d ~/$d; cd -; mkdir -p $d"
        ),
        plants=".envrc",
    ),
    Attack(
        id="W35",
        what="in a folder closed to writing",
        command=(
            "mkdir -p c/.vscode; echo x > c/.vscode/tasks.json; chmod 555 c/.vscode; chmod 555 c"
        ),
        plants="c/.vscode/tasks.json",
    ),
    Attack(
        id="W36",
        what="in the allowed folder, closed to writing",
        command="echo x > .envrc; chmod 555 .",
        plants=".envrc",
    ),
    Attack(
        id="W37",
        what="a hook in a folder closed to writing",
        command="echo x > .git/hooks/pre-commit; chmod 555 .git/hooks .git",
        plants=".git/hooks/pre-commit",
    ),
    Attack(
        id="W38",
        what="settings that are there, in folders closed to writing",
        command="echo bad > pkg/.vscode/settings.json; chmod 555 pkg/.vscode pkg",
        changes="settings",
    ),
    Attack(
        id="W39",
        what="below a folder that can be listed and not entered",
        command="mkdir -p c/d/.vscode; echo x > c/d/.vscode/tasks.json; chmod 444 c",
        plants="c/d/.vscode/tasks.json",
    ),
    Attack(
        id="W40",
        what="the allowed folder itself as a repository",
        command="mkdir objects refs; cp .git/HEAD .; printf '[core]\\n\\tfsmonitor=x\\n' > config",
        plants="config",
    ),
    Attack(
        id="W41",
        what="a repository in two halves",
        command=(
            "mkdir -p half other/objects other/refs; cp .git/HEAD half; "
            "echo ../other > half/commondir; printf '[core]\\n\\tfsmonitor=x\\n' > other/config"
        ),
        plants="half/commondir",
    ),
    Attack(
        id="W42",
        what="a link among the hooks",
        command="echo x > evil; chmod 755 evil; ln -s ../../evil .git/hooks/post-merge",
        plants=".git/hooks/post-merge",
    ),
    Attack(
        id="W43",
        what="a link in place of settings that are there",
        command="echo bad > t; ln -sf ../../t pkg/.vscode/settings.json",
        changes="settings",
    ),
    Attack(
        id="W29",
        what="through a hard link made here",
        command="ln $A/outside/victim.txt h && echo x > h",
        changes="victim",
    ),
)
