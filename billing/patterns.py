"""Patterns of model names, as routes and prices have them."""


def matches(pattern: str, model: str) -> bool:
    """Whether `model` is what `pattern` means; `*` stands for any run of characters.

    Not a regular expression: some patterns would let a long model name keep one busy for seconds.
    """
    head, *parts = pattern.split("*")
    if not parts:
        return model == pattern
    *middle, tail = parts
    at, end = len(head), len(model) - len(tail)
    if at > end or not model.startswith(head) or not model.endswith(tail):
        return False
    for part in middle:
        found = model.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def closeness(pattern: str) -> tuple[bool, int, str]:
    """How closely a pattern names what it means; the least is the closest."""
    stars = pattern.count("*")
    return (stars > 0, stars - len(pattern), pattern)
