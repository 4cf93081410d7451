"""Tests of chaoskit.durable."""
