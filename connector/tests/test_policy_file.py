"""What [policy] in connector.toml says, and what is said of mistakes in it."""

import json
from pathlib import Path

import pytest

from opscenter_connector.mistakes import ConfigError
from opscenter_connector.policing import effective
from opscenter_connector.policy import Decision, Default, Policy, Rule, ServerPolicy
from opscenter_connector.settings import LocalSpec, ServerSpec, Settings
from tests.test_config import here, load, toml  # noqa: F401 - a fixture for each test here

SERVERS = '[servers.files]\ncommand = "true"\n'


def policy(text: str, servers: str = SERVERS) -> Policy:
    """As in a file that was named."""
    return load({"config": str(toml(servers + text))}).settings.policy


def test_it_needs_no_policy() -> None:
    assert policy("") == load().settings.policy == Policy()


def test_it_reads_all_of_it() -> None:
    found = policy("""
        [policy]
        default = "read-only"
        changed = "deny"
        protected = "deny"
        unconfined = "deny"
        approve_from = ["gateway"]

        [policy.servers.local.tools]
        bash = "ask"

        [policy.servers.files]
        default = "ask"
        changed = "allow"

        [policy.servers.files.tools]
        read = "allow"
        write = { decision = "allow", paths = ["src", "/data/"], otherwise = "deny" }
        copy = { decision = "allow", paths = ["~"], arguments = ["to"] }

        [policy.servers.files.tools.run]
        decision = "allow"
        commands = ["make test"]
        ask_commands = ["rm"]
        deny_commands = ["git push"]
    """)
    allow, ask, deny = Decision.ALLOW, Decision.ASK, Decision.DENY
    files = ServerPolicy(
        default=Default.ASK,
        changed=allow,
        tools={
            "read": Rule(decision=allow),
            "write": Rule(decision=allow, paths=(str(Path.cwd() / "src"), "/data"), otherwise=deny),
            "copy": Rule(decision=allow, paths=(str(Path.home()),), arguments=("to",)),
            "run": Rule(
                decision=allow,
                commands=("make test",),
                ask_commands=("rm",),
                deny_commands=("git push",),
            ),
        },
    )
    assert found == Policy(
        default=Default.READ_ONLY,
        changed=deny,
        protected=deny,
        unconfined=deny,
        approve_from=("gateway",),
        servers={"local": ServerPolicy(tools={"bash": Rule(decision=ask)}), "files": files},
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[policy]\ndefualt = "ask"',
            "line 4: 'defualt' is not a key here; did you mean 'default'?",
        ),
        ('[policy]\ndefault = "yes"', 'line 4: default must be "allow", "ask", "deny", "hints" or'),
        ('[policy]\nchanged = "hints"', 'line 4: changed must be "allow", "ask" or "deny", not'),
        ('[policy]\nunconfined = "allow"', 'unconfined must be "ask" or "deny", not'),
        ("[policy]\napprove_from = []", 'approve_from must be ["terminal", "gateway"] or one'),
        ('[policy]\napprove_from = ["web"]', "line 4: approve_from must be"),
        ("[policy]\nservers = 3", "servers must be a table"),
        ('[policy.servers.fils]\ndefault = "ask"', "there is no server 'fils', so its rules would"),
        ('[policy.servers.fils]\ndefault = "ask"', "is it 'files'?"),
        ("[policy]\nservers.files = 3", "[policy.servers.files] must be a table"),
        ('[policy.servers.files]\ntool.x = "ask"', "'tool' is not a key here"),
        ('[policy.servers.files]\ntools.x = "maybe"', "line 4: x must be"),
        ('[policy.servers.files.tools]\nx = { paths = ["/a"] }', "line 4: x lacks a decision"),
        (
            '[policy.servers.files.tools]\nx = { decision = "allow", otherwise = "allow" }',
            'otherwise must be "ask" or "deny"',
        ),
        (
            '[policy.servers.files.tools]\nx = { decision = "allow", arguments = ["to"] }',
            "x has arguments, which say where paths are, and no paths",
        ),
        (
            '[policy.servers.files.tools]\nx = { decision = "allow", path = "/a" }',
            "did you mean 'paths'?",
        ),
    ],
)
def test_a_mistake_is_named_and_nothing_is_guessed(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(text)
    assert said in str(caught.value)
    assert "connector.toml" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '[policy]\ndefault = "allow"',
        '[policy]\nchanged = "allow"',
        '[policy]\nprotected = "allow"',
        '[policy.servers.files]\ndefault = "allow"',
        '[policy.servers.files]\ntools.x = "allow"',
        '[policy.servers.local.tools.bash]\ndecision = "allow"\ncommands = ["make"]',
    ],
)
def test_a09_a_file_that_lies_about_allows_nothing(text: str) -> None:
    path = toml(SERVERS + text)
    with pytest.raises(ConfigError, match="found because you stand beside it"):
        load()
    load({"config": str(path)})
    own = Path("..", "xdg", "opscenter-connector")
    own.mkdir(parents=True)
    path.rename(own / "connector.toml")
    load()


def test_a09_a_file_that_lies_about_may_be_stricter() -> None:
    toml(SERVERS + '[policy]\ndefault = "deny"\n[policy.servers.files]\ntools.x = "ask"')
    assert load().settings.policy.default is Default.DENY


def test_a09_no_other_file_says_what_is_allowed() -> None:
    said = {
        "mcpServers": {"files": {"command": "true", "policy": {"default": "allow"}}},
        "policy": {"default": "allow"},
        "permissions": {"allow": ["*"]},
    }
    Path(".mcp.json").write_text(json.dumps(said))
    Path(".claude").mkdir()
    Path(".claude", "settings.json").write_text(json.dumps(said))
    environ = {"MCP_POLICY": "allow", "OPSCENTER_POLICY": "allow"}
    assert load({"mcp_config": ".mcp.json"}, environ).settings.policy == Policy()


# What a person reads of it.


def settings(rules: Policy, folder: Path) -> Settings:
    return Settings(
        api_url="https://g",
        api_key="",
        name="n",
        state_dir=folder,
        servers=(ServerSpec(name="files", command="true"),),
        local=LocalSpec(allowed_paths=(folder,), quarantine=folder / "q"),
        policy=rules,
    )


def shown(rules: Policy, folder: Path, layer: str) -> dict[str, str]:
    found = effective.lines(settings(rules, folder), layer)
    return {f"{line.server} {line.tool}": line.decision for line in found}


def test_it_is_told_as_it_holds(tmp_path: Path) -> None:
    assert shown(Policy(), tmp_path, "none") == {
        "local glob, grep, list_directory, read_file": "allow",
        "local edit_file, write_file": "allow; ask about names that other programs obey",
        "local bash": "ask: no sandbox holds commands here",
        "files all tools": "allow; ask about what it calls destructive itself",
    }
    held = shown(Policy(), tmp_path, "landlock")
    assert held["local bash"] == "allow; sandbox: landlock"
    rules = Policy(
        servers={
            "files": ServerPolicy(tools={"rm": Rule(decision=Decision.DENY)}),
            "local": ServerPolicy(
                tools={"bash": Rule(decision=Decision.ALLOW, commands=("make",))}
            ),
        }
    )
    own = shown(rules, tmp_path, "landlock")
    assert own["files rm"] == "deny"
    assert own["local bash"] == "allow for 1 command word for word, else ask; sandbox: landlock"


def test_each_tool_has_its_word() -> None:
    def word(rules: Policy, tool: str, server: str = "files", **hints: bool) -> str:
        definition = {"name": tool, "annotations": hints}
        return effective.of_tool(rules, server, definition, "none")

    assert word(Policy(), "read", readOnlyHint=True) == "allow"
    assert word(Policy(), "rm", destructiveHint=True) == "ask"
    assert word(Policy(), "bash", "local") == "ask"
    rules = {"rm": Rule(decision=Decision.DENY), "run": Rule(decision=Decision.ALLOW, paths=("/",))}
    own = Policy(servers={"files": ServerPolicy(tools=rules)})
    assert (word(own, "rm"), word(own, "run")) == ("deny", "by its rule")


def test_the_folders_of_the_policy_are_those_that_are_open(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    one = settings(Policy(), real)
    assert effective.of(one).roots == (str(real),)
    both = LocalSpec(allowed_paths=(link,), quarantine=tmp_path)
    linked = Settings(api_url="", api_key="", name="n", state_dir=tmp_path, servers=(), local=both)
    assert effective.of(linked).roots == (str(link), str(real))
    assert len(effective.as_json(one, "none")["version"]) == 64
