"""Tests against real peers, installed by `make real`."""
