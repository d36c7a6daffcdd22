"""Settings for every test: Keras, where it is the oracle, runs on JAX."""

import os

# Read by Keras when it is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
