"""Command-line verbs of the whole product."""
