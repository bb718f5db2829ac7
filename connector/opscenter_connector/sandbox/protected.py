"""Names that make a person's programs run something: no command may plant or change them (pure).

An editor, a shell, a package manager or git obeys such a file as soon as somebody stands in its
folder. A list is never whole. What is written to be run is not in it: changing a Makefile, a
package.json or a test is an agent's work, and a person runs it when they say so.
"""

# Wherever they are in a folder; compared without case, for file systems that do so.
ANYWHERE = frozenset(
    {
        ".git",
        ".gitmodules",
        ".gitconfig",
        ".githooks",
        ".husky",
        ".pre-commit-config.yaml",
        ".lefthook.yml",
        "lefthook.yml",
        ".envrc",
        ".mise.toml",
        "mise.toml",
        "mise.local.toml",
        ".tool-versions",
        ".vscode",
        ".idea",
        ".fleet",
        ".zed",
        ".nvim.lua",
        ".nvimrc",
        ".exrc",
        ".vimrc",
        ".dir-locals.el",
        ".devcontainer",
        ".devcontainer.json",
        ".mcp.json",
        ".claude",
        ".cursor",
        ".codex",
        ".agents",
        ".gemini",
        ".aider.conf.yml",
        ".cargo",  # config.toml in it names programs that cargo runs
        "hgrc",  # in .hg: hooks
        ".npmrc",
        ".yarnrc",
        ".yarnrc.yml",
        ".pnpmfile.cjs",
        ".pypirc",
        ".bashrc",
        ".bash_profile",
        ".bash_login",
        ".bash_logout",
        ".profile",
        ".zshrc",
        ".zshenv",
        ".zprofile",
        ".zlogin",
        ".inputrc",
        ".gdbinit",
        ".lldbinit",
        "connector.toml",
        "commondir",  # by it a folder with HEAD is a repository, with settings from elsewhere
    }
)
# Right in an allowed folder: those that are there are read-only, new ones are nobody's danger.
READ_ONLY_AT_TOP = frozenset({".env", ".github"})
# In a git directory: what git runs, or what leads it to other settings.
IN_GIT = frozenset({"hooks", "config", "config.worktree", "commondir", "modules", "worktrees"})
# Git writes other files there itself; this one says which of its filters run.
IN_GIT_INFO = frozenset({"attributes"})
GIT = ".git"
# A folder with all of one of these is a git directory, whatever its name.
GIT_PARTS = frozenset({"HEAD", "objects", "refs"})
GIT_HALF = frozenset({"HEAD", "commondir"})


def anywhere(name: str) -> bool:
    return name.casefold() in ANYWHERE


def inside_git(name: str, *, info: bool) -> bool:
    return name.casefold() in (IN_GIT_INFO if info else IN_GIT)


def is_git(name: str) -> bool:
    return name.casefold() == GIT
