"""Side by side with the rivals: `python -m benchmarks`. Prints ratios; nothing here is a test.

cases.py: what is measured; worker.py: the process in which one framework answers; models.py: the
same models for every framework; __main__.py: rounds, medians, the table and the JSON.
layers.py: single layers, forward and backward (`python -m benchmarks.layers`).
"""
