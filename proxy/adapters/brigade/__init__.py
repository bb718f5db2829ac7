"""Unicorn Brigade's own languages."""
