"""Tests of the tunnel and its queue."""
