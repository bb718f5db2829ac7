"""The official SDKs, in two languages that must say the same."""
