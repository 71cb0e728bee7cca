"""A small router of the shape of BenchAI's, with its habits, for tests and demo of what guards it."""
