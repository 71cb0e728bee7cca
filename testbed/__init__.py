"""The real parts that tests, the demo and the benchmarks run on: models, servers, faults, an engine.

Nothing here imports `supervisor`: what checks a thing may not lean on it.
"""
