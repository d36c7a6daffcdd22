"""StringLookup and IntegerLookup: known terms as their places in a vocabulary, and back.

One base does both: what differs is how terms are found, in a dict of strings on the host, or in
sorted numbers, which a Program can search too. Hashes: `hashing.py`. Whole texts: `text.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jax.core
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes, symbol
from carnyx.core.fields import declared
from carnyx.layers import arguments, hashing, tabular
from carnyx.layers.hashing import Salt
from carnyx.layers.tabular import Dense, wrong

FromNone = int  # a whole number from 0
LookupMode = str  # one of MODES
MODES, OLD_MODES = (*hashing.MODES, "tf_idf"), {"binary": "multi_hot", "tf-idf": "tf_idf"}
UNKNOWN = -2  # while indices are looked for
TERMS, WEIGHTS = "vocabulary.txt", "idf_weights.txt"
arguments.RULES |= {
    "FromNone": lambda layer, name, value: arguments.whole(layer, name, value, 0),
    "LookupMode": lambda layer, name, value: arguments.choice(
        layer, name, OLD_MODES.get(value, value), MODES
    ),
}
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
        '            "tf_idf" [..., n] -> [..., N]: whether or how often a term occurs, or this\n'
        "            times its weight log(1 + documents / (1 + documents with the term))."
    ),
    "pad_to_max_tokens": "whether N is max_tokens even if there are fewer terms.",
    "salt": "two whole numbers; unknown terms then have buckets as in a salted `Hashing`.",
    "encoding": "of the bytes that are given as strings.",
}


class IndexLookup(hashing.HostLayer):
    """What all lookups share; subclasses say how terms are read and found.

    Terms and counts are in namespaces, as a layer looks for others in its lists and dicts.
    """

    ignored = ("has_input_vocabulary", "oov_method")  # in Keras's configs
    learns = "vocabulary"
    vocabulary_dtype = "string"
    max_tokens: Any
    num_oov_indices: int
    mask_token: Any
    oov_token: Any
    vocabulary: Any
    idf_weights: Any
    invert: bool
    output_mode: str
    pad_to_max_tokens: bool
    salt: Any
    # what subclasses say
    _key: Callable[..., Any] = staticmethod(lambda term: term)  # -> what stands for it in tables
    _spelled: Callable[..., Any] = staticmethod(lambda key: key)  # -> the term of a key
    _term: Callable[..., Any]  # (value) -> a term as it is kept, or TypeError
    _flat: Callable[..., list[Any]]  # (array) -> all its elements as terms, or TypeError
    _indices: Callable[..., Any]  # (array) -> the index of each; -1 for a mask that has none

    def __init__(
        self, *, name: str | None = None, vocabulary_size: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self._size: Any = vocabulary_size  # Keras's configs have it, of terms that are assets

    def _set_up(self) -> None:
        super()._set_up()
        if self.invert and (self.output_mode != "int" or self.oov_token is None):
            expected = "'int', with oov_token, for invert"
            raise arguments.refuse(self, "output_mode", self.output_mode, expected)
        if self.max_tokens is not None or self.pad_to_max_tokens:
            least = max(2, 1 + len(self._special()))
            self.max_tokens = arguments.whole(self, "max_tokens", self.max_tokens, least)
        self._table = SimpleNamespace(terms=[], weights=None)
        self.reset_state()
        given, weights = self.vocabulary, self.idf_weights
        self.given = given is not None
        if self.given:
            terms = self._read(given)
            self.set_vocabulary(terms, weights)  # of a file they are assets, in no config
            self.vocabulary = None if isinstance(given, (str, Path)) else tabular.host_array(terms)
        elif weights is not None:
            raise arguments.refuse(self, "idf_weights", weights, "given with a vocabulary")
        if weights is not None:
            self.idf_weights = np.asarray(weights)

    @property
    def compute_dtype(self) -> str:
        return self.vocabulary_dtype

    dtype = variable_dtype = compute_dtype

    def _config_value(self, name: str, *rest: Any) -> Any:
        if name == "vocabulary_size":
            return self._size
        value = super()._config_value(name, *rest)
        return value.tolist() if isinstance(value, np.ndarray) else value

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if isinstance(config.get("vocabulary"), str):
            raise ValueError(
                f"{cls.__name__}.from_config: the vocabulary is a path, {config['vocabulary']!r}. "
                "Configs open no files: put the terms themselves there."
            )
        return super().from_config(config)

    # ---- the vocabulary

    def _read(self, vocabulary: Any) -> list[Any]:
        if isinstance(vocabulary, (str, Path)):
            lines = _lines(Path(vocabulary))
            return [line if self.vocabulary_dtype == "string" else int(line) for line in lines]
        terms = tabular.host_array(vocabulary)
        if terms.ndim != 1 or not terms.size:
            raise arguments.refuse(self, "vocabulary", vocabulary, "a list of one or more terms")
        return [self._term(t) for t in terms.tolist()]

    def _special(self) -> list[Any]:
        return [self.mask_token] * self._masks + [self.oov_token] * self.num_oov_indices

    @property
    def _masks(self) -> bool:
        """Whether the mask has an index, 0; where it has none it counts nowhere."""
        return self.mask_token is not None and self.output_mode == "int"

    @property
    def learnt(self) -> bool:
        """Whether there is a vocabulary."""
        return bool(self._table.terms)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Takes these terms: a list, with or without the special ones first, or a text file.

        `idf_weights` are for "tf_idf", one for each; special terms then have the mean by default.
        Raises ValueError for repeated terms, too many of them, special ones at a wrong place.
        """
        if (idf_weights is None) == (self.output_mode == "tf_idf"):
            raise arguments.refuse(self, "idf_weights", idf_weights, "given for 'tf_idf', only")
        terms, special = self._read(vocabulary), self._special()
        whole = terms[: len(special)] == special
        rest = terms[len(special) :] if whole else terms
        if repeated := [t for t, n in Counter(rest).items() if n > 1]:
            raise wrong(self, f"the vocabulary has repeated terms: {repeated[:10]}")
        if lost := {self.mask_token, self.oov_token if self.invert else None} & set(rest):
            told = f"{lost} lie inside the vocabulary"
            raise wrong(self, f"{told}: leave special terms out, or begin with exactly {special}")
        size = len(special) + len(rest)
        if self.max_tokens is not None and size > self.max_tokens:
            told = f"the vocabulary has {size} terms, special ones included"
            raise wrong(self, f"{told}; max_tokens is {self.max_tokens}")
        weights = None if idf_weights is None else np.asarray(idf_weights, "float64")
        if weights is not None and weights.shape != (len(terms),):
            raise wrong(self, f"{len(terms)} terms have idf_weights of shape {weights.shape}")
        self._learn(rest, weights)

    def _learn(self, terms: list[Any], weights: np.ndarray | None) -> None:
        """Keeps terms, and their weights: special ones have the mean by default, padding has 0."""
        self._table = SimpleNamespace(terms=terms, weights=None)
        self._size = size = self.vocabulary_size()
        places = range(size - len(terms), size)
        self._table.places = dict(zip(map(self._key, terms), places, strict=True))
        if self.mask_token is not None:
            self._table.places[self._key(self.mask_token)] = 0 if self._masks else -1
        if self.invert:
            self._table.names = np.array([*self.get_vocabulary(), self.oov_token])
        if weights is not None:
            first = np.full(size - len(weights), weights.mean())
            room = self.max_tokens - size if self.pad_to_max_tokens else 0
            weights = np.pad(np.concatenate([first, weights]), (0, room))
            self._table.weights = weights.astype(dtypes.floatx())

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The terms in the order of their indices."""
        return (self._special() if include_special_tokens else []) + self._table.terms

    def vocabulary_size(self) -> int:
        """The number of indices, special ones included."""
        return len(self._special()) + len(self._table.terms)

    def save_assets(self, dir_path: Any) -> None:
        """Writes the terms to `vocabulary.txt` in a folder, one a line, unless a config has them.

        The weights of "tf_idf" are in `idf_weights.txt`, which Keras does not know.
        """
        if self.vocabulary is not None:
            return
        named = self.oov_token is not None
        terms = list(map(str, self.get_vocabulary(named)))
        if broken := [t for t in terms if set(t) & set("\r\n")]:
            raise wrong(self, f"terms with line breaks cannot be lines of a file: {broken[:10]}")
        files = {TERMS: terms}
        if self._table.weights is not None:
            first = 0 if named else len(self._special())
            files[WEIGHTS] = list(map(repr, self._table.weights[first : self._size].tolist()))
        for name, lines in files.items():
            (Path(dir_path) / name).write_text("\n".join(lines), encoding="utf-8")

    def load_assets(self, dir_path: Any) -> None:
        """Reads what `save_assets` wrote."""
        if self.vocabulary is not None:
            return
        if self._read(Path(dir_path) / TERMS) == self._special():
            return  # it had not learnt any
        lines = _lines(Path(dir_path) / WEIGHTS) if self.output_mode == "tf_idf" else None
        self.set_vocabulary(Path(dir_path) / TERMS, lines and list(map(float, lines)))

    # ---- learning it from data

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Takes the most frequent terms of an array, or of `steps` batches of an iterable.

        Of terms that are as frequent the greater comes first. For "tf_idf" each row is a document,
        of a flat array each element.
        """
        self.reset_state()
        whole = hasattr(data, "shape") or isinstance(data, (list, tuple))
        for batch in islice(tabular.batches_of(self, data), None if whole else steps):
            self.update_state(batch[:, None] if whole and batch.ndim == 1 else batch)
        self.finalize_state()

    def reset_state(self) -> None:
        """Forgets the counts, not the vocabulary."""
        self._counted = SimpleNamespace(terms=Counter(), found_in=Counter(), documents=0)

    def update_state(self, data: Any) -> None:
        """Counts the terms of a batch."""
        counted = self._counted
        for flat, lengths in self._parts(tabular.host_array(data)):
            counted.terms.update(flat)
            if self.output_mode == "tf_idf":
                terms = iter(flat)
                for length in lengths:
                    counted.found_in.update(set(islice(terms, length)))
                counted.documents += len(lengths)

    def finalize_state(self) -> None:
        """Makes the vocabulary of what was counted."""
        counts, special = self._counted.terms, self._special()
        for term in (self.mask_token, self.oov_token):
            if term is not None:
                counts.pop(self._key(term), None)
        if not counts:
            raise wrong(self, "adapt() was given no data")
        ranked = sorted(sorted(counts, reverse=True), key=counts.__getitem__, reverse=True)
        ranked = ranked[: None if self.max_tokens is None else self.max_tokens - len(special)]
        weights = None
        if self.output_mode == "tf_idf":
            found_in = np.array([self._counted.found_in[t] for t in ranked])
            weights = np.log(1 + self._counted.documents / (1 + found_in))
        self._learn(list(map(self._spelled, ranked)), weights)
        self.reset_state()

    # ---- calling

    def _parts(self, values: np.ndarray) -> Iterator[tuple[list[Any], list[int]]]:
        """The terms of an array and how many each row has; in parts, where they are made here."""
        width = values.shape[-1] if values.ndim else 1
        yield self._flat(values), [width] * (values.size // max(width, 1))

    def call(self, inputs: Any) -> Any:
        self._check(self.learnt)
        return self._terms_at(inputs) if self.invert else self._encode(self._indices(inputs))

    def _check(self, known: Any) -> None:
        if not known:
            raise ValueError("there is no vocabulary yet: call adapt(data) or set_vocabulary()")

    def _bucket(self, unknown: Any) -> Any:
        """What unknown terms become."""
        if not self.num_oov_indices:
            if not isinstance(unknown, jax.core.Tracer) and unknown.size:
                raise ValueError(
                    f"terms that are not in the vocabulary: {unknown[:10].tolist()}. Set "
                    "num_oov_indices to 1 or more to give unknown terms an index"
                )
            return -1
        return hashing.buckets(unknown, self.num_oov_indices, self.salt) + self._masks

    def _terms_at(self, indices: Any) -> Any:
        hashing.expect(indices, "int", "inverted, it takes whole numbers")
        xp, names = np, self._table.names
        if isinstance(indices, jax.core.Tracer):
            xp, names = jnp, jnp.asarray(names.astype("int32"))
        outside = (indices < 0) | (indices >= len(names))
        return names[xp.where(outside, len(names) - 1, indices)]

    def _encode(self, ids: Any) -> Any:
        if self.output_mode == "int":
            return jnp.asarray(ids, "int32")
        size = self.max_tokens if self.pad_to_max_tokens else self._size
        self._check(size)
        weights = self._table.weights
        mode = self.output_mode if weights is None else "count"
        found = tabular.encode(ids, size, mode, dtype=dtypes.floatx())
        return found if weights is None else found * weights

    def compute_output_spec(self, inputs: Any) -> Any:
        if self.invert:
            dtype = "string" if self.vocabulary_dtype == "string" else "int32"
            return symbol.KerasTensor(inputs.shape, dtype)
        return super().compute_output_spec(inputs)


def _lines(path: Path) -> list[str]:
    """The lines of a text file; others than line breaks do not end one."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


class StringTable(IndexLookup):
    """What the lookups of strings share."""

    encoding: str

    def _term(self, value: Any) -> str:
        if isinstance(value, bytes):
            return value.decode(self.encoding)
        if not isinstance(value, str):
            raise TypeError(f"terms are strings; received {value!r} of type {type(value).__name__}")
        return str(value)

    def _flat(self, values: Any) -> list[str]:
        home = "Strings live on the host, outside of compiled steps"
        remedy = f". {home}: call this layer on the data before fit()"
        hashing.expect(values, "string", "takes strings", remedy)
        flat = values.ravel().tolist()
        return flat if set(map(type, flat)) <= {str} else [self._term(v) for v in flat]

    def _find(self, keys: list[Any], unknown: int) -> np.ndarray:
        found = map(self._table.places.get, keys, repeat(unknown))
        return np.fromiter(found, "int32", len(keys))


@declared
class StringLookup(StringTable):
    """Strings as whole numbers, by their places in a vocabulary.

    Strings live on the host: look them up before `fit`, or in an `Input(..., dtype="string")`.

    Args:
        [shared]

    >>> layer = StringLookup(vocabulary=["a", "b"])
    >>> layer([["b", "z", "a"]]).tolist(), layer.get_vocabulary()
    ([[2, 0, 1]], ['[UNK]', 'a', 'b'])
    """

    max_tokens: int | None = None
    num_oov_indices: FromNone = 1
    mask_token: str | None = None
    oov_token: str | None = "[UNK]"
    vocabulary: Any = None
    idf_weights: Any = None
    invert: bool = False
    output_mode: LookupMode = "int"
    pad_to_max_tokens: bool = False
    sparse: Dense = False
    encoding: str = "utf-8"
    if not TYPE_CHECKING:  # where options of layers are keyword-only
        name: str | None = None
    salt: Salt | None = None

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"oov_method": "floormod"}  # which Keras writes and ignores

    def _indices(self, values: Any) -> np.ndarray:
        flat, single = self._flat(values), self.num_oov_indices == 1
        found = self._find(flat, self._masks if single else UNKNOWN)
        if not single:
            lost = np.flatnonzero(found == UNKNOWN)
            found[lost] = self._bucket(np.array([flat[i] for i in lost], object))
        return found.reshape(values.shape)


@declared
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

    max_tokens: int | None = None
    num_oov_indices: FromNone = 1
    mask_token: int | None = None
    oov_token: int | None = -1
    vocabulary: Any = None
    vocabulary_dtype: str = "int64"
    idf_weights: Any = None
    invert: bool = False
    output_mode: LookupMode = "int"
    sparse: Dense = False
    pad_to_max_tokens: bool = False
    oov_method: str = "floormod"
    salt: Salt | None = None
    if not TYPE_CHECKING:  # where options of layers are keyword-only
        name: str | None = None

    def _set_up(self) -> None:
        arguments.choice(self, "vocabulary_dtype", self.vocabulary_dtype, ("int64",))
        arguments.choice(self, "oov_method", self.oov_method, ("floormod", "farmhash"))
        if self.salt is not None and self.oov_method != "farmhash":
            raise arguments.refuse(self, "oov_method", self.oov_method, "'farmhash' for a salt")
        super()._set_up()

    def _term(self, value: Any) -> int:
        if not arguments.is_whole(value):
            raise TypeError(f"terms are whole numbers; received {value!r}")
        return int(value)

    def _flat(self, values: Any) -> list[int]:
        hashing.expect(values, "int", "takes whole numbers")
        return values.ravel().tolist()

    def _learn(self, *args: Any) -> None:
        super()._learn(*args)
        keys = np.fromiter(self._table.places, "int64")
        places, order = np.fromiter(self._table.places.values(), "int32"), np.argsort(keys)
        self._table.keys, self._table.places = keys[order], places[order]

    def _indices(self, values: Any) -> Any:
        hashing.expect(values, "int", "takes whole numbers")
        keys, places = self._table.keys, self._table.places
        if isinstance(values, jax.core.Tracer):
            fits = keys == keys.astype("int32")  # others cannot occur in 32 bits
            keys, places = jnp.asarray(keys[fits].astype("int32")), jnp.asarray(places[fits])
            values = values.astype("int32")
            spot = tabular.rank(keys, values) - 1
            return jnp.where(keys[spot] == values, places[spot], self._bucket(values))
        spot = np.searchsorted(keys, values, "right") - 1
        found = np.where(keys[spot] == values, places[spot], UNKNOWN)
        lost = found == UNKNOWN
        found[lost] = self._bucket(values[lost])
        return found

    def _bucket(self, unknown: Any) -> Any:
        if self.num_oov_indices and self.oov_method == "floormod":
            return (unknown % self.num_oov_indices).astype("int32") + self._masks
        return super()._bucket(unknown)


__all__ = ["IntegerLookup", "StringLookup"]
