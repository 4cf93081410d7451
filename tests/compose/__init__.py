"""Tests on a real container engine."""
