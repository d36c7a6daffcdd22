"""TextVectorization: texts as rows of numbers. How its words are found in a table: `lookup.py`."""

from __future__ import annotations

import string
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from carnyx.core.fields import declared
from carnyx.layers import arguments
from carnyx.layers.arguments import Whole
from carnyx.layers.lookup import LookupMode, StringTable
from carnyx.layers.tabular import Dense

LOWER, STRIP = "lower", "strip_punctuation"
STANDARDS = ("lower_and_strip_punctuation", LOWER, STRIP)
WAYS = {"standardize": STANDARDS, "split": ("whitespace", "character")}
LOWERED, PUNCTUATION = bytes(range(256)).lower(), string.punctuation.encode()
AT_ONCE = 64  # texts: few enough for their words to be in the cache still when they are looked up


@declared
class TextVectorization(StringTable):
    """Texts as the indices of their words, or as counts of them.

    Each text is standardised, split, its words joined to n-grams, and these are looked up: 0 is
    padding (in mode "int"), the next index stands for unknown ones.
    Shapes: [B] or [B, 1] -> [B, T] for "int", [B, T, N] for "one_hot", [B, N] for counts. Without
    a split the inputs are words, [B, T]. Texts live on the host: call this before `fit`, or on an
    `Input(..., dtype="string")`.

    Args:
        [shared]
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation" (of ASCII), None,
            or a function from a NumPy array of strings [n] to another.
        split: "whitespace" (of ASCII), "character", None, or a function from a NumPy array of
            strings [n] to the list of words of each.
        ngrams: n for words joined in runs of 1 to n, a tuple of just these numbers, or None.
        output_sequence_length: T, from 1, cut or padded to; None for the longest of the batch.
        ragged: False; ragged outputs are not supported.

    >>> layer = TextVectorization(output_sequence_length=3)
    >>> layer.adapt(["The horn, the drum.", "the war"])
    >>> layer(["The war cry"]).tolist(), layer.get_vocabulary()
    ([[2, 3, 1]], ['', '[UNK]', 'the', 'war', 'horn', 'drum'])
    """

    # Words are bytes, UTF-8, from `_standardized` to the table: strings would be split at white
    # space that is not ASCII's.
    _key, _spelled = staticmethod(str.encode), staticmethod(bytes.decode)
    mask_token, oov_token, num_oov_indices = "", "[UNK]", 1
    invert, salt = False, None
    max_tokens: int | None = None
    standardize: Any = "lower_and_strip_punctuation"
    split: Any = "whitespace"
    ngrams: Any = None
    output_mode: LookupMode = "int"
    output_sequence_length: Whole | None = None
    pad_to_max_tokens: bool = False
    vocabulary: Any = None
    idf_weights: Any = None
    sparse: Dense = False
    ragged: Dense = False
    encoding: str = "utf-8"
    if not TYPE_CHECKING:  # where options of layers are keyword-only
        name: str | None = None

    def _set_up(self) -> None:
        super()._set_up()
        for name, words in WAYS.items():
            way = getattr(self, name)
            if way is not None and not callable(way):
                setattr(self, name, arguments.choice(self, name, way, words))
        n: Any = self.ngrams
        runs: Any = range(1, n + 1) if arguments.is_whole(n) else n
        listed = isinstance(runs, (range, list, tuple)) and len(runs) > 0
        if n is not None and not (listed and all(arguments.is_whole(i) and i > 0 for i in runs)):
            raise arguments.refuse(self, "ngrams", n, "whole numbers from 1, or None")
        self._runs, self.ngrams = runs, tuple(n) if isinstance(n, list) else n
        length = self.output_sequence_length
        if length is not None and self.output_mode != "int":
            expected = "None but for output_mode='int'"
            raise arguments.refuse(self, "output_sequence_length", length, expected)
        self._more = (1,) if self.output_mode == "one_hot" else ()  # for a row for each word

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"vocabulary_size": self.vocabulary_size()}

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Takes the most frequent words, see `StringLookup.adapt`; `batch_size` is not needed."""
        super().adapt(data, steps)

    def _lead(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The shape that the texts have; without a split, the last axis has the words of one."""
        if self.split is not None and len(shape) > 1 and shape[-1] not in (1, None):
            raise ValueError(
                f"takes texts of shape [B] or [B, 1] to split them; received {shape}. Set "
                "split=None if they are words"
            )
        return shape[:-1] if len(shape) > 1 or self.split is None else shape

    def _parts(self, values: np.ndarray) -> Iterator[tuple[list[bytes], list[int]]]:
        flat, lead = self._flat(values), self._lead(values.shape)
        count = int(np.prod(lead))
        width = len(flat) // max(count, 1)
        for start in range(0, count, AT_ONCE):
            texts = self._standardized(flat[start * width : (start + AT_ONCE) * width])
            if self.split is None:
                rows = [texts[i : i + width] for i in range(0, len(texts), max(width, 1))]
                rows = rows or [[]] * min(AT_ONCE, count - start)
            else:
                rows = self._split(texts)
            if self._runs is not None:
                rows = list(map(self._joined, rows))
            yield list(chain.from_iterable(rows)), list(map(len, rows))

    def _standardized(self, texts: list[str]) -> list[bytes]:
        how = self.standardize
        if callable(how):
            texts = list(map(self._term, np.asarray(how(np.array(texts, str))).ravel().tolist()))
        table = LOWERED if how in (LOWER, STANDARDS[0]) else None
        removed = PUNCTUATION if how in (STRIP, STANDARDS[0]) else b""
        return [text.encode().translate(table, removed) for text in texts]

    def _split(self, texts: list[bytes]) -> list[list[bytes]]:
        if self.split == "whitespace":
            return list(map(bytes.split, texts))
        rows: Any = [text.decode() for text in texts]
        if self.split != "character":
            rows = [list(map(self._term, words)) for words in self.split(np.array(rows, str))]
        return [list(map(str.encode, row)) for row in rows]

    def _joined(self, words: list[bytes]) -> list[bytes]:
        runs: list[bytes] = []
        for n in self._runs or ():
            following = (words[i:] for i in range(n))
            runs += words if n == 1 else map(b" ".join, zip(*following, strict=False))
        return runs

    def call(self, inputs: Any) -> Any:
        self._check(self.learnt)
        ids, lengths = [np.zeros(0, "int32")], []
        for words, many in self._parts(inputs):
            ids.append(self._find(words, self._masks))
            lengths += many
        flat, length = np.concatenate(ids), np.array(lengths, "int64")
        width = self.output_sequence_length or int(length.max(initial=0))
        place = np.arange(len(flat)) - np.repeat(np.cumsum(length) - length, length)
        padded = np.full((len(length), width), int(self._masks) - 1, "int32")
        padded[np.arange(width) < length[:, None]] = flat[place < width]
        return self._encode(padded.reshape(*self._lead(inputs.shape), width, *self._more))

    def compute_output_spec(self, inputs: Any) -> Any:
        """Written by hand, as the number of words cannot be known."""
        shape = *self._lead(inputs.shape), self.output_sequence_length, *self._more
        return self._spec(shape)


__all__ = ["TextVectorization"]
