"""Realistic input files with known truth, for tests, benchmarks and the demonstration."""
