"""What the data sets of texts share: numbers of words, chosen by how frequent they are."""

from __future__ import annotations

import numpy as np


def encode(
    parts: list[tuple[np.ndarray, np.ndarray]],
    num_words: int | None,
    skip_top: int,
    maxlen: int | None,
    start_char: int | None,
    oov_char: int | None,
    index_from: int | None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Parts of (texts, labels), the texts as lists of word numbers.

    Words are numbered by frequency, 1 the most frequent; `index_from` is added to the numbers and
    `start_char` begins each text. Numbers outside [skip_top, num_words) become `oov_char`, or are
    left out if that is None; without `num_words` that holds, as in Keras, for the greatest number
    too. Only texts of fewer than `maxlen` words are kept.
    """
    shift, start = index_from or 0, [] if start_char is None else [start_char]
    shifted = []
    for texts, labels in parts:
        found = [[*start, *(word + shift for word in text)] for text in texts]
        kept = [i for i, text in enumerate(found) if maxlen is None or len(text) < maxlen]
        if not kept:
            raise ValueError(
                f"load_data: no text has fewer than maxlen={maxlen} words. Pass a greater maxlen."
            )
        shifted.append(([found[i] for i in kept], labels[kept]))
    stop = num_words or max(max(text, default=0) for texts, _ in shifted for text in texts)

    def chosen(text: list[int]) -> list[int]:
        if oov_char is None:
            return [word for word in text if skip_top <= word < stop]
        return [word if skip_top <= word < stop else oov_char for word in text]

    return [(ragged([chosen(text) for text in texts]), labels) for texts, labels in shifted]


def ragged(texts: list[list[int]]) -> np.ndarray:
    """Lists of different lengths in an array of objects."""
    found = np.empty(len(texts), object)
    found[:] = texts
    return found
