"""The program on a user's machine that runs tool calls for an Ops-Center gateway."""

__version__ = "0.1.0"
