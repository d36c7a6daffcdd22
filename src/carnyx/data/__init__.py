"""Data: from what users have to batches.

`adapters.py` turns arrays and generators into sources, `checks.py` refuses bad data at the call,
`batches.py` is the contract with the loop that runs them (`train/loop.py`).
"""
