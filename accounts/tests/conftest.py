"""The people of the account tests."""

from accounts.tests.people import alice, bob, charlie, uses_written

__all__ = ["alice", "bob", "charlie", "uses_written"]
