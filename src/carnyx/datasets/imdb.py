"""IMDB: 50,000 reviews of films, for or against (Maas and others, 2011)."""

from __future__ import annotations

import numpy as np

from carnyx.datasets import sources, words


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int | None = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
    **kwargs: int,
) -> sources.Halves:
    """((x_train, y_train), (x_test, y_test)): lists of word numbers in arrays of objects, 1 or 0.

    Args:
        path: the file's name in the cache.
        num_words, skip_top: words numbered outside [skip_top, num_words) become `oov_char`, or are
            left out if that is None.
        maxlen: only reviews of fewer words are kept.
        seed: of the order.
        start_char: begins each review, None for nothing.
        index_from: added to the numbers by frequency, which begin with 1.

    Make them one length with `carnyx.utils.pad_sequences`.
    """
    num_words = kwargs.pop("nb_words", num_words)  # the argument's first name
    if kwargs:
        raise TypeError(f"load_data: unknown arguments {sorted(kwargs)}")
    data = sources.read_npz(sources.fetch("imdb.npz", path))
    random = np.random.RandomState(seed)
    parts = [
        sources.shuffled((data[f"x_{part}"], data[f"y_{part}"]), random)
        for part in ("train", "test")
    ]
    train, test = words.encode(parts, num_words, skip_top, maxlen, start_char, oov_char, index_from)
    return train, test


def get_word_index(path: str = "imdb_word_index.json") -> dict[str, int]:
    """Word -> its number by frequency, from 1; `load_data` adds `index_from` to it."""
    return sources.read_json(sources.fetch("imdb_word_index.json", path))
