"""Real routers held to one contract."""

import pytest

pytest.register_assert_rewrite("tests.routers.contract")  # no test file by its name, and yet full of tests
