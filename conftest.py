"""Settings for every test: Keras, where it is the oracle, runs on JAX."""

import os

import pytest

# Read by Keras when it is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True)
def _fresh_names():
    """Automatic names start anew for each test, and so do unseeded draws."""
    from carnyx.core.config import clear_session
    from carnyx.random import set_random_seed

    clear_session()
    set_random_seed(0)
