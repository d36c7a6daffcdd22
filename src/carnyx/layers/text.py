"""TextVectorization: texts as rows of numbers. The table of its words is a StringLookup's."""

from __future__ import annotations

import string
from collections.abc import Callable
from collections.abc import Iterator
from itertools import chain
from typing import Any

import jax.numpy as jnp
import numpy as np

from carnyx.core import symbol
from carnyx.layers import arguments, hashing
from carnyx.layers.lookup import TABLE, StringLookup

LOWER, STRIP = "lower", "strip_punctuation"
STANDARDS = ("lower_and_strip_punctuation", LOWER, STRIP)


@arguments.documented(*TABLE)
class TextVectorization(StringLookup):
    """Texts as the indices of their words, or as counts of them.

    Each text is standardised, split, its words joined to n-grams, and these are looked up: 0 is
    padding (in mode "int"), the next index stands for unknown ones.
    Shapes: [B] or [B, 1] -> [B, T] for "int", [B, N] for counts. Without a split the inputs are
    words, [B, T]. Texts live on the host: call this on the data before `fit`.

    Args:
        [shared]
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation" (of ASCII), None,
            or a function from an array of strings to another.
        split: "whitespace" (of ASCII), "character", None, or a function from an array of strings
            to the list of words of each.
        ngrams: n for words joined in runs of 1 to n, a tuple of just these numbers, or None.
        output_sequence_length: T, from 1, cut or padded to; None for the longest of the batch.
        ragged: False; ragged outputs are not supported.
        encoding: of the bytes that are given as texts.

    >>> layer = TextVectorization(output_sequence_length=3)
    >>> layer.adapt(["The horn, the drum.", "the war"])
    >>> layer(["The war cry"]).tolist(), layer.get_vocabulary()
    ([[2, 3, 1]], ['', '[UNK]', 'the', 'war', 'horn', 'drum'])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: Any = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        special = {"mask_token": "", "oov_token": "[UNK]", "num_oov_indices": 1}
        self._start(locals() | special | {"invert": False, "salt": None})
        for argument, value, words in (
            ("standardize", standardize, STANDARDS),
            ("split", split, ("whitespace", "character")),
        ):
            plain = value is None or callable(value)
            setattr(self, argument, value if plain else arguments.choice(self, argument, value, words))
        self.ngrams = tuple(ngrams) if isinstance(ngrams, (list, tuple)) else ngrams
        widths = tuple(range(1, ngrams + 1)) if arguments.is_whole(ngrams) else self.ngrams or ()
        if ngrams is not None and not all(arguments.is_whole(n) and n > 0 for n in widths or "-"):
            raise arguments.refuse(self, "ngrams", ngrams, "whole numbers from 1, or None")
        self._widths = widths
        self.output_sequence_length = output_sequence_length
        if output_sequence_length is not None:
            if self.output_mode != "int":
                raise arguments.refuse(
                    self, "output_sequence_length", output_sequence_length, "None but for 'int'"
                )
            arguments.whole(self, "output_sequence_length", output_sequence_length)
        self.ragged = ragged
        if ragged:
            raise arguments.refuse(self, "ragged", ragged, "False: outputs are dense arrays")

    def get_config(self) -> dict[str, Any]:
        config = super().get_config() | {"vocabulary_size": self.vocabulary_size()}
        return {k: v for k, v in config.items() if k != "oov_method"}

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        return owner is not StringLookup and super()._in_config(name, value, default, owner)

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Takes the most frequent words, see `StringLookup.adapt`; `batch_size` is not needed."""
        super().adapt(data, steps)

    def _parts(self, values: np.ndarray) -> Iterator[tuple[list[str], list[int]]]:
        """Some texts at a time: their words, which then are still in the cache when looked up."""
        values = np.array(self._standardized(values), object).reshape(values.shape)
        texts = values.reshape(-1, *values.shape[len(self._lead(values.shape)) :])
        if callable(self.split):
            texts = [list(map(self._term, words)) for words in self.split(texts.astype(str))]
        for start in range(0, max(len(texts), 1), 64):
            rows = list(map(self._words, texts[start : start + 64]))
            yield list(chain.from_iterable(rows)), list(map(len, rows))

    def _lead(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The shape that the texts have; without a split, the last axis has the words of one."""
        if self.split is not None and len(shape) > 1 and shape[-1] != 1:
            raise ValueError(
                f"takes texts of shape [B] or [B, 1] to split them; received {shape}. Set "
                "split=None if they are words"
            )
        return shape[:-1] if len(shape) > 1 else shape

    def _standardized(self, values: np.ndarray) -> Any:
        texts, how = self._flat(values), self.standardize
        if callable(how):
            return np.asarray(how(np.array(texts, str).reshape(values.shape))).ravel().tolist()
        if how is None:
            return texts
        removed = string.punctuation.encode() if STRIP in how else b""
        encoded: Any = map(str.encode, texts)
        if LOWER in how:
            encoded = map(bytes.lower, encoded)  # of bytes, it is ASCII's
        return [text.translate(None, removed).decode() for text in encoded]

    def _words(self, text: Any) -> list[str]:
        """The words of a text, or all that is left to do to them."""
        if self.split == "whitespace":
            if text.isascii() and not any(c in text for c in "\x1c\x1d\x1e\x1f"):
                words = text.split()
            else:  # strings are split at other white space than ASCII's too, bytes are not
                words = [word.decode() for word in text.encode().split()]
        else:
            words = [text] if isinstance(text, str) and self.split is None else list(text)
        if self.ngrams is None:
            return words
        runs = (zip(*(words[i:] for i in range(n)), strict=False) for n in self._widths)
        return list(map(" ".join, chain.from_iterable(runs)))

    def call(self, inputs: Any) -> Any:
        self._ready(self._terms)
        parts = ((self._find(flat), np.array(lengths)) for flat, lengths in self._parts(inputs))
        make = self._padded if self.output_mode in ("int", "one_hot") else self._tallied
        found = make(list(parts)) if make == self._padded else make(parts)
        return found.reshape(*self._lead(inputs.shape), *found.shape[1:])

    def _padded(self, parts: Any) -> Any:
        ids, lengths = (np.concatenate(p) for p in zip(*parts, strict=True))
        width = self.output_sequence_length or int(lengths.max(initial=0))
        padded = np.full((len(lengths), width), 0 if self._masks else -1, "int32")
        row = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        inside = place < width
        padded[row[inside], place[inside]] = ids[inside]
        return self._encode(padded)

    def _tallied(self, parts: Any) -> Any:
        binary, width = self.output_mode == "multi_hot", self._width()
        found = []
        for ids, lengths in parts:
            rows = np.repeat(np.arange(len(lengths)), lengths)
            found.append(hashing.tally(ids, rows, (len(lengths), width), binary))
            if self._idf is not None:
                found[-1] *= self._idf
        return jnp.asarray(np.concatenate(found))

    def compute_output_spec(self, inputs: Any) -> Any:
        """Written by hand, as the number of words cannot be known."""
        shape = inputs.shape
        lead = shape[:-1] if len(shape) > 1 else shape
        if self.output_mode == "int":
            return symbol.KerasTensor((*lead, self.output_sequence_length), "int32")
        return super().compute_output_spec(symbol.KerasTensor((*lead, None), "int32"))


__all__ = """
    TextVectorization
""".split()
