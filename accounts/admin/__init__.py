"""What operators do about people and their keys."""

from accounts.admin import keys, people, trail

__all__ = ["keys", "people", "trail"]
