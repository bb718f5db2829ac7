"""Tests of settings, start and pages."""
