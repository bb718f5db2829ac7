"""Ours, the raw floor and a peer, measured side by side on one machine."""
