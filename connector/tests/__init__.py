"""Tests of the connector. They run in its own environment, from `connector/`."""
