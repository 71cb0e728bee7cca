"""A small, faithful fake of llama.cpp's HTTP server as it was in February 2025, which no package index has any more.

`python -m testbed.old_llama`, in a container of the testbed's image or as a child process; nothing but the standard
library and this package may be imported here. What matters to whoever watches such a server is as it was: a fixed
pool of HTTP threads, one inference loop with a queue that answers `/slots` and `/metrics` too, and so is silent for a
whole batch of prefill; the answers' shapes; and CPU really burned for every token, so that a throttled container is
slow in the same way. The rest (a model, above all) is left out, and the faults of the field can be switched on.
"""
