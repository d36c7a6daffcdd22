"""Training: the steps, the loop that repeats them, callbacks and progress. `model.py` joins all."""
