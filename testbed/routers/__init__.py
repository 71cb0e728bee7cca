"""Real routers, run as child processes in front of model servers, for tests, demo and benchmarks."""
