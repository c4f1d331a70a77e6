"""Helpers of the demo, the benchmarks and the tests: Redis, child processes, the journal."""
