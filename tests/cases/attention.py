"""Rows of the attention layers that take a list; multi-head ones are in `test_attention.py`."""

from tests.cases.case import Case

PAIRS = ((2, 3, 4), (2, 5, 4))

ROWS = [
    Case("Attention", {}, PAIRS),
    Case("Attention", {"use_scale": True, "score_mode": "concat"}, (*PAIRS, (2, 5, 4))),
    Case("AdditiveAttention", {}, PAIRS),
]
