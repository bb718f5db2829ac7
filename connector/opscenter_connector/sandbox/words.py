"""A shell command as the programs it starts, with their arguments, by a parser (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

_BASH = Language(tree_sitter_bash.language())
_WRITES = frozenset({">", ">>", ">|", "&>", "&>>"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One program of a command. An expansion stays as it is written, for nobody knows its value."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a command does, as far as it says so."""

    invocations: tuple[Invocation, ...]
    written: tuple[str, ...]  # files that output is sent to
    bombs: tuple[str, ...]  # functions that start themselves twice


def found(command: str) -> Found:
    tree = Parser(_BASH).parse(command.encode("utf-8", "replace"))
    invocations: list[Invocation] = []
    written: list[str] = []
    bombs: list[str] = []
    for node in _all(tree.root_node):
        if node.type == "command":
            words = [text for child in _words(node) if (text := _text(child))]
            if words:
                invocations.append(Invocation(name=words[0], arguments=tuple(words[1:])))
        elif node.type == "file_redirect":
            written += _target(node)
        elif node.type == "function_definition" and _is_bomb(node):
            bombs.append(_source(node.child_by_field_name("name")))
    return Found(invocations=tuple(invocations), written=tuple(written), bombs=tuple(bombs))


def _all(root: Node) -> Iterator[Node]:
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo += reversed(node.children)


def _words(node: Node) -> list[Node]:
    name = node.child_by_field_name("name")
    inner = name.named_children if name is not None else []
    return [*inner, *node.children_by_field_name("argument")]


def _text(node: Node | None) -> str:
    """The word that bash makes of it, but for expansions."""
    if node is None:
        return ""
    if node.type == "raw_string":
        return _source(node)[1:-1]
    if node.type == "ansi_c_string":
        return _source(node)[2:-1].encode("utf-8").decode("unicode_escape", "replace")
    if node.type == "string":
        return _source(node)[1:-1].replace("${HOME}", "$HOME")
    if node.type == "concatenation":
        return "".join(map(_text, node.children))
    return _source(node).replace("${HOME}", "$HOME").replace("\\", "")


def _source(node: Node | None) -> str:
    text = node.text if node is not None else None
    return text.decode("utf-8", "replace") if text else ""


def _target(node: Node) -> list[str]:
    operators = {_source(child) for child in node.children if not child.is_named}
    return [_text(node.child_by_field_name("destination"))] if operators & _WRITES else []


def _is_bomb(node: Node) -> bool:
    """It calls itself into a pipe or the background, more than once."""
    name = _source(node.child_by_field_name("name"))
    body = node.child_by_field_name("body")
    if body is None:
        return False
    calls = sum(
        one.type == "command" and _source(one.child_by_field_name("name")) == name
        for one in _all(body)
    )
    spreads = any(_source(one) in {"&", "|", "|&"} for one in _all(body) if not one.is_named)
    return calls > 1 and spreads
