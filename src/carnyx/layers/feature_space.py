"""FeatureSpace: the columns of a table, each made ready in its own way, as one array for a model.

The ways are layers of other files: `tabular.py`, `lookup.py`, `hashing.py`. Users find the class
in `carnyx.utils`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax

from carnyx.core import dtypes
from carnyx.core.config import (
    Configurable,
    CustomObjectScope,
    build_config,
    deserialize,
    public,
    unique_name,
)
from carnyx.core.errors import nearest
from carnyx.core.fields import declared
from carnyx.core.graph import Input
from carnyx.core.layer import Layer
from carnyx.layers import arguments, tabular
from carnyx.layers.activation import Identity
from carnyx.layers.arguments import Mode
from carnyx.layers.hashing import HashedCrossing, Hashing
from carnyx.layers.lookup import IntegerLookup, StringLookup
from carnyx.layers.merge import Concatenate

HOME = "keras.src.layers.preprocessing.feature_space"  # where Keras's files say these parts are


class Cross(Configurable):
    """Which features are crossed, into how many bins; "one_hot" or "int"."""

    keras_module = HOME

    def __init__(self, feature_names: Any, crossing_dim: int, output_mode: str = "one_hot") -> None:
        self.feature_names = tuple(feature_names)
        if len(self.feature_names) < 2:
            raise ValueError(f"a cross is of two or more features; received {feature_names!r}")
        self.crossing_dim = self.size = crossing_dim
        self.name = "_X_".join(self.feature_names)
        self.output_mode = arguments.choice(self, "output_mode", output_mode, ("int", "one_hot"))


class Feature(Configurable):
    """A column's dtype, the layer that makes it ready, and "float", "int" or "one_hot"."""

    keras_module = HOME

    def __init__(self, dtype: str, preprocessor: Any, output_mode: str) -> None:
        if not isinstance(preprocessor, Layer):
            raise TypeError(f"a feature's preprocessor is a layer; received {preprocessor!r}")
        self.dtype, self.preprocessor, self.name = dtype, preprocessor, preprocessor.name
        modes = "int", "one_hot", "float"
        self.output_mode = arguments.choice(self, "output_mode", output_mode, modes)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Feature:
        layer = config["preprocessor"]
        if layer["class_name"] == "TFDIdentity":  # Keras's own name for it there
            config = {**config, "preprocessor": Identity.from_config(layer["config"])}
        return super().from_config(config)

    @property
    def learns(self) -> bool:
        """Whether `adapt` has something to find."""
        return hasattr(self.preprocessor, "adapt") and not getattr(self.preprocessor, "given", None)

    @property
    def learnt(self) -> bool:
        """Whether nothing is left to find: it was adapted, or loaded, or given."""
        return not self.learns or getattr(self.preprocessor, "learnt", True)

    @property
    def size(self) -> int:
        """How many different whole numbers there may be."""
        layer: Any = self.preprocessor
        if hasattr(layer, "vocabulary_size"):
            return layer.vocabulary_size()
        edges = getattr(layer, "bin_boundaries", None)
        size = getattr(layer, "num_bins", None) or (edges and len(edges) + 1)
        if not size:
            raise ValueError(
                f"layer '{layer.name}' does not tell how many numbers it gives, so they cannot be "
                "one-hot encoded: use output_mode='int'"
            )
        return size


@declared
class FeatureSpace(tabular.ClosedLayer):
    """Columns of a table, by name, as one array or a dict of arrays.

    Shapes: a dict of [B], [B, 1] or [B, d] -> [B, N], the encoded features and then the crosses,
    each in the order of their names; or a dict of them. A dict of single values gives [N].
    Columns that are no features are left out.

    Args:
        features: name -> a kind, such as "float_normalized" or "string_categorical", or what one
            of the methods of these names gives, or `FeatureSpace.feature` with a layer of yours.
        output_mode: "concat" or "dict".
        crosses: tuples of names of features to cross (see `HashedCrossing`), or `cross(...)`s.
        crossing_dim, hashing_dim, num_discretization_bins: bins of crosses, hashed features and
            discretised ones that do not say it themselves.

    >>> space = FeatureSpace({"age": "float", "town": "string_categorical"})
    >>> data = {"age": [30.0, 40.0, 50.0], "town": ["Bern", "Ulm", "Bern"]}
    >>> space.adapt(data)
    >>> space(data).tolist()
    [[30.0, 0.0, 1.0, 0.0], [40.0, 0.0, 0.0, 1.0], [50.0, 0.0, 1.0, 0.0]]
    """

    keras_module = "keras.utils"

    modes = ("concat", "dict")
    features: dict[str, Any]
    output_mode: Mode = "concat"
    crosses: Any = None
    crossing_dim: int = 32
    hashing_dim: int = 32
    num_discretization_bins: int = 32
    if not TYPE_CHECKING:  # where options of layers are keyword-only
        name: str | None = None

    def _set_up(self) -> None:
        if not self.features or not isinstance(self.features, dict):
            raise ValueError(f"features is a dict of one or more; received {self.features!r}")
        self.features = {name: self._feature(name, f) for name, f in self.features.items()}
        self.crosses = [
            c if isinstance(c, Cross) else Cross(c, self.crossing_dim) for c in self.crosses or ()
        ]
        self._parts = {**self.features, **{c.name: c for c in self.crosses}}
        for cross in self.crosses:
            for part in cross.feature_names:
                if _by_name(self.features, part).output_mode == "float":
                    raise ValueError(f"{self.name}: {part!r} is a float and cannot be crossed")
        self.preprocessors = {name: f.preprocessor for name, f in self.features.items()}
        self.crossers = {c.name: HashedCrossing(c.crossing_dim, name=c.name) for c in self.crosses}
        self.concat = Concatenate() if self.output_mode == "concat" else None
        self.inputs = {
            name: Input((1,), dtype=f.dtype, name=name) for name, f in self.features.items()
        }
        self.one_hot_encoders: dict[str, Any] = {}
        self.encoded_features: Any = None

    def _feature(self, name: str, value: Any) -> Feature:
        if isinstance(value, Feature):
            return value
        kind = arguments.choice(self, f"features[{name!r}]", value, tuple(KINDS))
        bins = KINDS[kind][1]
        return getattr(type(self), kind)(*([getattr(self, bins)] if bins else []), name=name)

    # ---- kinds of features

    cross, feature = Cross, Feature

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """A number as it is."""
        return _feature("float", name, "float")

    @classmethod
    def float_rescaled(
        cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None
    ) -> Feature:
        """scale * a number + offset."""
        return _feature("float_rescaled", name, "float", scale, offset)

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """A number of mean 0 and variance 1."""
        return _feature("float_normalized", name, "float")

    @classmethod
    def float_discretized(
        cls,
        num_bins: int | None,
        bin_boundaries: Any = None,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """The bin of a number; with bin_boundaries, num_bins is None."""
        return _feature("float_discretized", name, output_mode, bin_boundaries, num_bins)

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """The place of a whole number among those of the data."""
        return _feature("integer_categorical", name, output_mode, max_tokens, num_oov_indices)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """The place of a string among those of the data."""
        return _feature("string_categorical", name, output_mode, max_tokens, num_oov_indices)

    @classmethod
    def integer_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """The bin of a whole number's hash."""
        return _feature("integer_hashed", name, output_mode, num_bins)

    @classmethod
    def string_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """The bin of a string's hash."""
        return _feature("string_hashed", name, output_mode, num_bins)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FeatureSpace:
        """Written by hand, as Keras's configs name its private module for the parts."""
        with CustomObjectScope({"Feature": Feature, "Cross": Cross}):
            features = {name: deserialize(f) for name, f in config["features"].items()}
            return super().from_config({**config, "features": features})

    # ---- files

    def get_build_config(self) -> dict[str, Any]:
        """What each feature's layer was built with."""
        return {name: build_config(layer) for name, layer in self.preprocessors.items()}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds the features' layers."""
        for name, shapes in config.items():
            layer = self.preprocessors.get(name)
            if layer is not None and shapes and not layer.built:
                layer.build_from_config(shapes)

    def save(self, filepath: Any) -> None:
        """Writes the space and what it learnt to a `.keras` file, for `load_model` and Keras."""
        public("save").save_model(self, filepath)

    # ---- learning and calling

    def adapt(self, dataset: Any) -> None:
        """Finds vocabularies, means, bins: in a dict of columns, or an iterable of such batches."""
        batches = [dataset] if isinstance(dataset, dict) else dataset
        if isinstance(batches, Iterator):  # each feature goes through them
            batches = list(batches)
        for name, feature in self.features.items():
            if feature.learns:
                columns = (self._column(name, _by_name(b, name)) for b in batches)
                self.preprocessors[name].adapt(columns)
        self.encoded_features, self.one_hot_encoders = None, {}
        self.get_encoded_features()

    def get_inputs(self) -> dict[str, Any]:
        """A KerasTensor [None, 1] for each feature, by name."""
        self._ready()
        return self.inputs

    def get_encoded_features(self) -> Any:
        """What a call gives, as KerasTensors that hang on `get_inputs()`."""
        self._ready()
        if self.encoded_features is None:
            self.encoded_features = self._encoded(self.inputs)
        return self.encoded_features

    def _ready(self) -> None:
        waiting = [name for name, feature in self.features.items() if not feature.learnt]
        if waiting:
            raise ValueError(
                f"FeatureSpace '{self.name}': call adapt(dataset) first. It has not seen: {waiting}"
            )

    def _column(self, name: str, value: Any) -> Any:
        """One feature's values as [B, d]."""
        column = tabular.host_array(value)
        if self.features[name].dtype.startswith("float"):
            column = column.astype(self.features[name].dtype)
        return column.reshape(-1, 1) if column.ndim < 2 else column

    def _encoded(self, columns: dict[str, Any]) -> Any:
        found = {name: self.preprocessors[name](columns[name]) for name in sorted(self.features)}
        for cross in sorted(self.crosses, key=lambda c: c.name):
            parts = [found[name] for name in cross.feature_names]
            found[cross.name] = self.crossers[cross.name](parts)
        found = {name: self._in_mode(name, x) for name, x in found.items()}
        if self.concat is None:
            return found
        for name, x in found.items():
            if not dtypes.is_float(x.dtype):
                raise ValueError(
                    f"feature {name!r} has whole numbers ({x.dtype}), which are not joined to "
                    "floats: give it output_mode='one_hot', or the space output_mode='dict'"
                )
        return self.concat(list(found.values())) if len(found) > 1 else next(iter(found.values()))

    def _in_mode(self, name: str, x: Any) -> Any:
        part: Any = self._parts[name]
        if part.output_mode != "one_hot":
            return x
        if name not in self.one_hot_encoders:
            self.one_hot_encoders[name] = tabular.CategoryEncoding(part.size)
        if dtypes.is_float(x.dtype):
            raise ValueError(f"feature {name!r} has floats, which have no one-hot encoding")
        return self.one_hot_encoders[name](x)

    def _convert(self, structure: Any) -> Any:
        return structure

    def compute_output_spec(self, data: Any) -> Any:
        """Written by hand, since strings cannot be traced."""
        self._ready()
        return self._encoded({name: _by_name(data, name) for name in self.features})

    def call(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError(f"takes a dict of columns; received {type(data).__name__}")
        self.get_encoded_features()
        given = {name: tabular.host_array(_by_name(data, name)) for name in self.features}
        found = self._encoded({name: self._column(name, x) for name, x in given.items()})
        if all(x.ndim == 0 for x in given.values()):
            return jax.tree.map(lambda x: x[0], found)
        return found


# kind, whose first word tells the dtype -> layer, argument with the bins of kinds that have them
KINDS: dict[str, tuple[Any, str]] = {
    "float": (Identity, ""),
    "float_rescaled": (tabular.Rescaling, ""),
    "float_normalized": (tabular.Normalization, ""),
    "float_discretized": (tabular.Discretization, "num_discretization_bins"),
    "integer_categorical": (IntegerLookup, ""),
    "string_categorical": (StringLookup, ""),
    "integer_hashed": (Hashing, "hashing_dim"),
    "string_hashed": (Hashing, "hashing_dim"),
}
DTYPES = {"float": "float32", "integer": "int32", "string": "string"}


def _feature(kind: str, name: str | None, mode: str, *args: Any) -> Feature:
    """A feature of a kind, its layer made from `args`."""
    made = KINDS[kind][0](*args, name=f"{name or unique_name(kind)}_preprocessor")
    return Feature(DTYPES[kind.partition("_")[0]], made, mode)


def _by_name(batch: Any, name: str) -> Any:
    batch = batch[0] if isinstance(batch, tuple) else batch
    if name not in batch:
        raise ValueError(f"no column is named {name!r} among {list(batch)}{nearest(name, batch)}")
    return batch[name]


__all__ = ["FeatureSpace"]
