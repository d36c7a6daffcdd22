"""Reuters: 11,228 newswires of 1987 on 46 topics (Lewis, 1997)."""

from __future__ import annotations

import numpy as np

from carnyx.datasets import sources, words

TOPICS = tuple(
    "cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves "
    "ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin "
    "strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem "
    "dlr gas silver wpi hog lead".split()
)


def load_data(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int | None = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
) -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): lists of word numbers in arrays of objects, topics.

    The arguments are those of `imdb.load_data`; `test_split` is the fraction for testing.
    """
    data = sources.read_npz(sources.fetch("reuters.npz", path))
    part = sources.shuffled((data["x"], data["y"]), np.random.RandomState(seed))
    ((x, y),) = words.encode([part], num_words, skip_top, maxlen, start_char, oov_char, index_from)
    at = int(len(x) * (1 - test_split))
    return (x[:at], y[:at]), (x[at:], y[at:])


def get_word_index(path: str = "reuters_word_index.json") -> dict[str, int]:
    """Word -> its number by frequency, from 1; `load_data` adds `index_from` to it."""
    return sources.read_json(sources.fetch("reuters_word_index.json", path))


def get_label_names() -> tuple[str, ...]:
    """The names of the 46 topics, in the order of their labels."""
    return TOPICS
