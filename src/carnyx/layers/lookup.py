"""StringLookup and IntegerLookup: known terms as their places in a vocabulary, and back.

One base does both: what differs is how terms are found, in a dict of strings on the host, or in
sorted numbers, which a Program can search too. Hashes: `hashing.py`. Whole texts: `text.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes, symbol
from carnyx.core.layer import Layer
from carnyx.layers import arguments, hashing, tabular

MODES = (*hashing.MODES, "tf_idf")
OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}
arguments.SHARED |= {
    "max_tokens": "the greatest size of the vocabulary, special terms included, from 2.",
    "num_oov_indices": 'from 0, the indices of unknown terms ("out of vocabulary", OOV).',
    "mask_token": 'the term for "nothing here", which has index 0 in mode "int"; None for none.',
    "oov_token": "what stands for unknown terms in `get_vocabulary`, and when inverted.",
    "vocabulary": "the terms, or a text file, one on each line; without it call `adapt`.",
    "idf_weights": 'a weight of each term, for "tf_idf".',
    "invert": "from index to term instead.",
    "output_mode": (
        '"int" [...] -> [...]; "one_hot" [..., 1] or [...] -> [..., N]; "multi_hot", "count",\n'
        '            "tf_idf" [..., n] -> [..., N]: whether or how often a term occurs, the latter\n'
        "            also times its weight log(1 + documents / (1 + documents with the term))."
    ),
    "sparse": "False; sparse outputs are not supported.",
    "pad_to_max_tokens": "whether N is max_tokens even if there are fewer terms.",
    "salt": "two whole numbers; unknown terms then have buckets as in a salted `Hashing`.",
}
TABLE = "max_tokens vocabulary idf_weights output_mode sparse pad_to_max_tokens".split()
SPECIAL = "num_oov_indices mask_token oov_token invert salt".split()


class IndexLookup(hashing.HostLayer):
    """What the two lookups share; subclasses say how terms are read and found."""

    vocabulary_dtype = "string"
    oov_method = "floormod"

    def _start(self, given: dict[str, Any]) -> None:
        """Checks and keeps a constructor's arguments, its `locals()`."""
        rest = given["kwargs"]
        self._size = rest.pop("vocabulary_size", None)
        vocabulary, weights = given["vocabulary"], given["idf_weights"]
        self._fixed = rest.pop("has_input_vocabulary", False) or vocabulary is not None
        Layer.__init__(self, name=given["name"], **{"autocast": False, **rest})
        self.mask_token, self.oov_token = given["mask_token"], given["oov_token"]
        self.num_oov_indices = arguments.whole(self, "num_oov_indices", given["num_oov_indices"], 0)
        mode = OLD_MODES.get(given["output_mode"], given["output_mode"])
        self.output_mode = arguments.choice(self, "output_mode", mode, MODES)
        for flag in ("invert", "pad_to_max_tokens"):
            setattr(self, flag, arguments.flag(self, flag, given[flag]))
        self.max_tokens = given["max_tokens"]
        if self.max_tokens is not None or given["pad_to_max_tokens"]:
            self.max_tokens = arguments.whole(self, "max_tokens", self.max_tokens, 2)
        self.salt = hashing.salt_of(self, given["salt"])
        tabular._dense(self, given["sparse"])
        if given["invert"] and (mode != "int" or self.oov_token is None):
            raise arguments.refuse(self, "output_mode", mode, "'int', with oov_token, for invert")
        if weights is not None and mode != "tf_idf":
            raise arguments.refuse(self, "idf_weights", weights, "None but for 'tf_idf'")
        self.idf_weights = None if weights is None else np.asarray(weights).tolist()
        self.vocabulary = self._idf = None
        self._terms: list[Any] = []
        self.reset_state()
        if vocabulary is not None:
            self.vocabulary = self._read(vocabulary)
            self.set_vocabulary(self.vocabulary, weights)

    @property
    def compute_dtype(self) -> str:
        return self.vocabulary_dtype

    variable_dtype = compute_dtype

    def get_config(self) -> dict[str, Any]:
        table = {"vocabulary_size": self._size, "oov_method": self.oov_method}
        return super().get_config() | table

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        return name != "autocast" and super()._in_config(name, value, default, owner)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if isinstance(config.get("vocabulary"), str):
            raise ValueError(
                f"{cls.__name__}.from_config: the vocabulary is a path, {config['vocabulary']!r}. "
                "Configs open no files: put the terms themselves there."
            )
        if cls.oov_method == config.get("oov_method") and cls is not IntegerLookup:
            config = {k: v for k, v in config.items() if k != "oov_method"}
        return super().from_config(config)

    # ---- the vocabulary

    def _wrong(self, message: str) -> ValueError:
        return ValueError(f"{type(self).__name__} '{self.name}': {message}.")

    def _term(self, value: Any) -> Any:
        """A term as it is kept, or TypeError."""
        raise NotImplementedError

    def _read(self, vocabulary: Any) -> list[Any]:
        if isinstance(vocabulary, (str, Path)):
            lines = Path(vocabulary).read_text(encoding="utf-8").splitlines()
            return [line if self.vocabulary_dtype == "string" else int(line) for line in lines]
        terms = hashing.host_array(vocabulary)
        if terms.ndim != 1 or not terms.size:
            raise arguments.refuse(self, "vocabulary", vocabulary, "a list of one or more terms")
        return [self._term(t) for t in terms.tolist()]

    def _special(self) -> list[Any]:
        return [self.mask_token] * self._masks + [self.oov_token] * self.num_oov_indices

    @property
    def _masks(self) -> bool:
        """Whether the mask has an index, 0; where it has none it counts nowhere."""
        return self.mask_token is not None and self.output_mode == "int"

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Takes these terms: a list, with or without the special ones first, or a text file.

        `idf_weights` are for "tf_idf", one for each; special terms then have the mean by default.
        Raises ValueError for repeated terms, too many of them, special ones at a wrong place.
        """
        terms, special = self._read(vocabulary), self._special()
        if (idf_weights is None) == (self.output_mode == "tf_idf"):
            raise arguments.refuse(self, "idf_weights", idf_weights, "given for 'tf_idf', only")
        whole = terms[: len(special)] == special
        rest = terms[len(special) :] if whole else terms
        repeated = [t for t, n in Counter(rest).items() if n > 1]
        if repeated:
            raise self._wrong(f"the vocabulary has repeated terms: {repeated[:10]}")
        lost = {self.mask_token, self.oov_token if self.invert else None} & set(rest)
        if lost:
            raise self._wrong(f"{lost} lie inside the vocabulary: leave special terms out, "
                              f"or begin with exactly {special}")
        if self.max_tokens is not None and len(special) + len(rest) > self.max_tokens:
            raise self._wrong(f"the vocabulary has {len(special) + len(rest)} terms, special ones "
                              f"included; max_tokens is {self.max_tokens}")
        if idf_weights is not None:
            weights = np.asarray(idf_weights, "float64")
            if weights.shape != (len(terms),):
                raise self._wrong(f"{len(terms)} terms have idf_weights of shape {weights.shape}")
            self._weigh(weights, 0 if whole else len(special))
        self._learn(rest)

    def _weigh(self, weights: np.ndarray, more: int) -> None:
        """Keeps weights, after those of `more` special terms and before those of padding."""
        weights = np.concatenate([np.full(more, weights.mean()), weights])
        room = self.max_tokens - len(weights) if self.pad_to_max_tokens else 0
        self._idf = np.pad(weights, (0, room)).astype(dtypes.floatx())

    def _learn(self, terms: list[Any]) -> None:
        self._terms = terms
        self._size = self.vocabulary_size()
        self._index(terms)

    def _index(self, terms: list[Any]) -> None:
        """Makes the table in which terms are found."""
        raise NotImplementedError

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The terms in the order of their indices."""
        return (self._special() if include_special_tokens else []) + self._terms

    def vocabulary_size(self) -> int:
        """The number of indices, special ones included."""
        return len(self._special()) + len(self._terms)

    # ---- learning it from data

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Takes the most frequent terms of an array, or of `steps` batches of an iterable.

        Of terms that are as frequent the greater comes first. For "tf_idf" each row is a document,
        of a flat array each element.
        """
        if self._fixed:
            raise self._wrong("its vocabulary was given: leave that out to adapt() to data")
        self.reset_state()
        whole = hasattr(data, "shape") or isinstance(data, (list, tuple))
        data = hashing.host_array(data) if whole else data
        for batch in islice(tabular.batches_of(self, data), None if whole else steps):
            self.update_state(batch[:, None] if whole and batch.ndim == 1 else batch)
        self.finalize_state()

    def reset_state(self) -> None:
        """Forgets the counts, not the vocabulary."""
        self._counts: Counter[Any] = Counter()
        self._found_in: Counter[Any] = Counter()
        self._documents = 0

    def update_state(self, data: Any) -> None:
        """Counts the terms of a batch."""
        for flat, lengths in self._parts(hashing.host_array(data)):
            self._counts.update(flat)
            if self.output_mode == "tf_idf":
                terms = iter(flat)
                for length in lengths:
                    self._found_in.update(set(islice(terms, length)))
                self._documents += len(lengths)

    def finalize_state(self) -> None:
        """Makes the vocabulary of what was counted."""
        for term in (self.mask_token, self.oov_token):
            self._counts.pop(term, None)
        if not self._counts:
            raise self._wrong("adapt() was given no data")
        ranked = sorted(self._counts, key=lambda t: (self._counts[t], t), reverse=True)
        special = len(self._special())
        terms = ranked[: max(self.max_tokens - special, 0) if self.max_tokens else None]
        if self.output_mode == "tf_idf":
            found_in = np.array([self._found_in[t] for t in terms], "float64")
            self._weigh(np.log(1 + self._documents / (1 + found_in)), special)
        self._learn(terms)
        self.reset_state()

    # ---- calling

    def _flat(self, values: np.ndarray) -> list[Any]:
        """All elements of an array, as terms are kept, or TypeError."""
        raise NotImplementedError

    def _parts(self, values: np.ndarray) -> Iterator[tuple[list[Any], list[int]]]:
        """The terms of an array and how many each row has; in parts, where they are made here."""
        width = values.shape[-1] if values.ndim else 1
        yield self._flat(values), [width] * (values.size // max(width, 1))

    def _indices(self, values: Any) -> Any:
        """The index of each term; -1 for a mask that has none."""
        raise NotImplementedError

    def call(self, inputs: Any) -> Any:
        self._ready(self._terms)
        return self._terms_at(inputs) if self.invert else self._encode(self._indices(inputs))

    def _ready(self, known: Any) -> None:
        if not known:
            raise ValueError("there is no vocabulary yet: call adapt(data) or set_vocabulary()")

    def _unknown(self, terms: list[Any]) -> None:
        if terms and not self.num_oov_indices:
            raise ValueError(
                f"terms that are not in the vocabulary: {terms[:10]}. Set num_oov_indices to 1 "
                "or more to give unknown terms an index"
            )

    def _terms_at(self, indices: Any) -> Any:
        if hashing.kind_of(indices) != "int":
            raise TypeError(f"inverted, it takes whole numbers; received {indices.dtype}")
        xp = jnp if isinstance(indices, jax.core.Tracer) else np
        table = np.array([*self.get_vocabulary(), self.oov_token])
        outside = (indices < 0) | (indices >= len(table))
        return xp.asarray(table)[xp.where(outside, len(table) - 1, indices)]

    def _encode(self, ids: Any) -> Any:
        if self.output_mode == "int":
            return jnp.asarray(ids, "int32")
        mode = "count" if self._idf is not None else self.output_mode
        found = hashing.encode(ids, self._width(), mode, dtypes.floatx())
        return found if self._idf is None else found * self._idf

    def _width(self) -> int:
        """N, the number of columns of the outputs that have columns."""
        size = self.max_tokens if self.pad_to_max_tokens else self._size
        self._ready(size and (self.output_mode != "tf_idf" or self._idf is not None))
        return int(size or 0)

    def compute_output_spec(self, inputs: Any) -> Any:
        if self.invert:
            dtype = "string" if self.vocabulary_dtype == "string" else "int32"
            return symbol.KerasTensor(inputs.shape, dtype)
        return super().compute_output_spec(inputs)


@arguments.documented(*TABLE, *SPECIAL)
class StringLookup(IndexLookup):
    """Strings as whole numbers, by their places in a vocabulary.

    Strings live on the host: look them up before `fit`.

    Args:
        [shared]
        encoding: of the bytes that are given as strings.

    >>> layer = StringLookup(vocabulary=["a", "b"])
    >>> layer([["b", "z", "a"]]).tolist(), layer.get_vocabulary()
    ([[2, 0, 1]], ['[UNK]', 'a', 'b'])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        self.encoding = encoding
        self._start(locals())

    def _term(self, value: Any) -> str:
        if isinstance(value, bytes):
            return value.decode(self.encoding)
        if not isinstance(value, str):
            raise TypeError(f"terms are strings; received {value!r} of type {type(value).__name__}")
        return str(value)

    def _flat(self, values: Any) -> list[Any]:
        if isinstance(values, jax.core.Tracer) or hashing.kind_of(values) != "string":
            raise TypeError(
                f"takes strings; received {values.dtype}. Strings live on the host, outside of "
                "compiled steps: call this layer on the data before fit()"
            )
        flat = values.ravel().tolist()
        return flat if set(map(type, flat)) <= {str} else [self._term(v) for v in flat]

    def _index(self, terms: list[Any]) -> None:
        self._table = {term: i for i, term in enumerate(terms, len(self._special()))}
        if self.mask_token is not None:
            self._table[self.mask_token] = 0 if self._masks else -1

    def _indices(self, values: Any) -> np.ndarray:
        return self._find(self._flat(values)).reshape(values.shape)

    def _find(self, flat: list[str]) -> np.ndarray:
        known, alone = self._table, self.num_oov_indices == 1
        unknown = [] if alone else list(set(flat).difference(known))
        self._unknown(unknown)
        if unknown:
            names = np.array([t.encode(self.encoding) for t in unknown], object)
            found = hashing.buckets(names, self.num_oov_indices, self.salt) + self._masks
            known = known | dict(zip(unknown, found.tolist(), strict=True))
        return np.fromiter(map(known.get, flat, repeat(int(self._masks))), "int32", len(flat))


@arguments.documented(*TABLE, *SPECIAL)
class IntegerLookup(IndexLookup):
    """Whole numbers that are names of something as numbers from 0, by a vocabulary.

    Works inside a model too, for numbers of 32 bits; there an unknown one without OOV gives -1.

    Args:
        [shared]
        vocabulary_dtype: "int64".
        oov_method: the bucket of an unknown number n: "floormod" n mod num_oov_indices, or
            "farmhash" as in `Hashing`, which a salt needs.

    >>> IntegerLookup(vocabulary=[12, 36])([[36, 7, 12]]).tolist()
    [[2, 0, 1]]
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.vocabulary_dtype, self.oov_method = vocabulary_dtype, oov_method
        self._start(locals())
        arguments.choice(self, "vocabulary_dtype", vocabulary_dtype, ("int64",))
        arguments.choice(self, "oov_method", oov_method, ("floormod", "farmhash"))
        if salt is not None and oov_method != "farmhash":
            raise arguments.refuse(self, "oov_method", oov_method, "'farmhash' for a salt")

    def _term(self, value: Any) -> int:
        if not arguments.is_whole(value):
            raise TypeError(f"terms are whole numbers; received {value!r}")
        return int(value)

    def _flat(self, values: Any) -> list[Any]:
        if hashing.kind_of(values) != "int":
            raise TypeError(f"takes whole numbers; received {values.dtype}")
        return [] if isinstance(values, jax.core.Tracer) else values.ravel().tolist()

    def _index(self, terms: list[Any]) -> None:
        keys = np.array(terms, "int64")
        order = np.argsort(keys)
        self._keys, self._places = keys[order], (order + len(self._special())).astype("int32")

    def _indices(self, values: Any) -> Any:
        self._flat(values)
        xp, keys, places = np, self._keys, self._places
        if isinstance(values, jax.core.Tracer):
            fits = keys == keys.astype("int32")  # others cannot occur in 32 bits
            xp, keys, places = jnp, keys[fits].astype("int32"), places[fits]
        spot = xp.searchsorted(xp.asarray(keys), values)
        spot = xp.minimum(spot, len(keys) - 1)
        known = xp.asarray(keys)[spot] == values
        masked = values == self.mask_token if self.mask_token is not None else ~(known | True)
        if xp is np:
            self._unknown(np.unique(values[~(known | masked)]).tolist())
        found = xp.where(known, xp.asarray(places)[spot], self._bucket(values))
        return xp.where(masked, 0 if self._masks else -1, found)

    def _bucket(self, values: Any) -> Any:
        """What unknown numbers become."""
        if not self.num_oov_indices:
            return -1
        if self.oov_method == "floormod":
            return (values % self.num_oov_indices).astype("int32") + self._masks
        return hashing.buckets(values, self.num_oov_indices, self.salt) + self._masks


__all__ = """
    IntegerLookup StringLookup
""".split()
