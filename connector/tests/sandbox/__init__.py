"""Tests of the sandbox, as an ordinary user."""
