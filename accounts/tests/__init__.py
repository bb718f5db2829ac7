"""Tests of who is calling."""
