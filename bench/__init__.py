"""Benchmarks on real parts: each prints its table, keeps its figures in `results/`, and passes or fails its bar."""
