"""Data: from what users have to batches. Checks of it are in `checks.py`."""
