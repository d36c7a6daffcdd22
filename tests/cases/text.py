"""Rows of layers of categories, on whole numbers, which a Program can hold; for the contracts only:
Keras's own need TensorFlow. Strings are in `test_hashing.py`, `test_lookup.py`, `test_text.py`.
"""

from tests.cases.case import Case

TERMS = {"vocabulary": [3, 1, 4]}

ROWS = [
    Case("Hashing", {"num_bins": 3}, (2, 4), "ids"),
    Case("Hashing", {"num_bins": 5, "salt": [1, 2], "mask_value": 0}, (2, 4, 3), "ids"),
    Case("Hashing", {"num_bins": 5, "output_mode": "one_hot"}, (2, 1), "ids"),
    Case("HashedCrossing", {"num_bins": 4}, ((2, 1), (2, 1)), "ids"),
    Case("HashedCrossing", {"num_bins": 4, "output_mode": "one_hot"}, ((2,), (2,), (2,)), "ids"),
    Case("IntegerLookup", TERMS, (2, 4), "ids"),
    Case("IntegerLookup", {**TERMS, "mask_token": 0, "output_mode": "count"}, (2, 4), "ids"),
    Case(
        "IntegerLookup",
        {**TERMS, "output_mode": "tf_idf", "idf_weights": [0.5, 1.0, 2.0]},
        (2, 3, 4),
        "ids",
    ),
    Case(
        "IntegerLookup",
        {**TERMS, "num_oov_indices": 3, "oov_method": "farmhash", "output_mode": "one_hot"},
        (2, 1),
        "ids",
    ),
    Case("IntegerLookup", {**TERMS, "invert": True}, (2, 4), "ids"),
]
