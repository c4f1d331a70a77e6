"""Benchmarks: each compares gokiq, or a part of it, with what it replaces, in the same run."""
