"""Numbers and categories made ready for a model: Normalization, Discretization, CategoryEncoding,
Rescaling. What is learnt from data is learnt by `adapt`, on the host, before training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes
from carnyx.core.fields import declared
from carnyx.core.layer import Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import Mode, Whole

ENCODINGS = ("one_hot", "multi_hot", "count")
Dense = bool  # the type of arguments that ask for other outputs than dense arrays


def dense_only(layer: Any, argument: str, value: Any) -> bool:
    """False, the only value of an argument of type `Dense`."""
    if value:
        raise arguments.refuse(layer, argument, value, "False: outputs are dense arrays")
    return False


arguments.RULES["Dense"] = dense_only
arguments.SHARED["sparse"] = "False; sparse outputs are not supported."


def host_array(value: Any) -> Any:
    """A NumPy array: of objects for strings in lists, as long ones would pad all others."""
    if isinstance(value, jax.core.Tracer):
        return value
    first, depth = value, 0
    while isinstance(first, (list, tuple)) and first:
        first, depth = first[0], depth + 1
    if not (depth and isinstance(first, (str, bytes))):
        return np.asarray(value)
    array = np.array(value, object)
    if array.ndim != depth:
        raise ValueError("the rows of a nested list of strings must be equally long")
    return array


def wrong(layer: Any, message: str) -> ValueError:
    """The error for something that a layer cannot do."""
    return ValueError(f"{type(layer).__name__} '{layer.name}': {message}.")


def batches_of(layer: Any, data: Any) -> Iterator[np.ndarray]:
    """The arrays that `adapt` was given: one array, or those of an iterable of batches."""
    if layer.given:
        told = f"was given its {layer.learns}, so adapt() would change nothing"
        raise wrong(layer, f"{told}. Leave that out to learn it")
    if hasattr(data, "shape") or isinstance(data, (list, tuple)):
        yield host_array(data)
        return
    if not hasattr(data, "__iter__"):
        raise TypeError(
            f"{type(layer).__name__} '{layer.name}': adapt() takes an array or an iterable of "
            f"batches. Received: {type(data).__name__}."
        )
    for batch in data:
        yield host_array(batch[0] if isinstance(batch, tuple) else batch)


def encode(indices: Any, size: int, mode: str, weights: Any = None, dtype: Any = None) -> Any:
    """Indices as one-hot rows, or their maxima ("multi_hot") or sums ("count") over the last axis.

    An index outside [0, size) gives zeros. Of NumPy's there are no one-hot rows to be summed.
    """
    if isinstance(indices, np.ndarray) and indices.ndim and mode != "one_hot":
        lead = indices.shape[:-1]
        found = np.zeros(math.prod(lead) * size, "float32")
        places = np.arange(0, found.size, size).reshape(*lead, 1) + indices
        places = places[(indices >= 0) & (indices < size)]
        if mode == "multi_hot":
            found[places] = 1
        else:
            np.add.at(found, places, np.float32(1))
        return jnp.asarray(found.reshape(*lead, size), dtype)
    rows = jax.nn.one_hot(indices, size, dtype=dtype)
    if mode == "one_hot" or not indices.ndim:
        return rows[..., 0, :] if indices.ndim > 1 and indices.shape[-1] == 1 else rows
    if mode == "multi_hot":
        return rows.max(-2, initial=0)
    return (rows if weights is None else rows * jnp.asarray(weights, dtype)[..., None]).sum(-2)


def rank(edges: Any, values: Any) -> Any:
    """How many of the rising edges lie at or below each value (all, for NaN), found by halving.

    `jnp.searchsorted` compares by a primitive that no Program has.
    """
    count, edges = len(edges), jnp.asarray(edges)
    found = jnp.zeros(values.shape, "int32")
    for bit in reversed(range(count.bit_length())):
        probe = found + (1 << bit)
        below = ~(values < edges[jnp.minimum(probe, count) - 1])
        found = jnp.where((probe <= count) & below, probe, found)
    return found


class NumberLayer(arguments.Declared, Layer):
    """Base: the numbers may come in lists, as in Keras."""

    def _convert(self, structure: Any) -> Any:
        args, kwargs = structure
        listed = (host_array(a) if isinstance(a, (list, tuple)) else a for a in args)
        return super()._convert((tuple(listed), kwargs))


class ClosedLayer(arguments.Declared, Layer):
    """Base: the constructor takes no other options of layers, as in Keras."""

    def __init__(self, *, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype, autocast=False)


@declared
class Rescaling(NumberLayer):
    """inputs * scale + offset, in training and inference.

    Args:
        scale, offset: numbers, or arrays that broadcast to the inputs.

    >>> Rescaling(1 / 255)(np.array([[0, 255]], "uint8")).tolist()
    [[0.0, 1.0]]
    """

    supports_masking = True

    scale: Any
    offset: Any = 0.0

    def call(self, inputs: Any) -> Any:
        scale, offset = (jnp.asarray(v, self.compute_dtype) for v in (self.scale, self.offset))
        return inputs.astype(self.compute_dtype) * scale + offset


class Normalization(NumberLayer):
    """(inputs - mean) / sqrt(variance), each feature by its own.

    Args:
        axis: the axes that have means of their own; None for one mean of everything.
        mean, variance: known values; without them `adapt` finds them.
        invert: mean + inputs * sqrt(variance) instead.

    Raises:
        ValueError: one of mean and variance without the other; called before `adapt`.

    >>> layer = Normalization()
    >>> layer.adapt(np.array([[1.0, 10.0], [3.0, 30.0]]))
    >>> layer(np.array([[3.0, 10.0]])).tolist()
    [[1.0, -1.0]]
    """

    supports_masking = True
    learns = "mean and variance"

    def __init__(
        self,
        axis: Any = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        axes = axis if isinstance(axis, (list, tuple)) else (axis,)
        self.axis = () if axis is None else tuple(axes)
        if (mean is None) != (variance is None):
            received = f"mean={mean!r}, variance={variance!r}"
            raise wrong(self, f"mean and variance are given together, or neither: {received}")
        given = {"mean": mean, "variance": variance}
        self.given = {} if mean is None else {k: np.asarray(v) for k, v in given.items()}
        self.invert = arguments.flag(self, "invert", invert)

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if name in ("mean", "variance"):
            return self.given[name].tolist() if self.given else None
        return super()._config_value(name, recorded, owner)

    @property
    def learnt(self) -> bool:
        """Whether `adapt` or a file gave the statistics, which make the weights."""
        return self.built

    def build(self, input_shape: Any) -> None:
        axes = arguments.axes_of(self, self.axis, len(input_shape)) if self.axis else ()
        if 0 in axes:
            raise arguments.refuse(self, "axis", self.axis, "without 0, the axis of samples")
        self._kept = tuple(sorted(axes))
        shape = [arguments.known(self, input_shape, a, "an axis with means") for a in self._kept]
        self._spread = [n if a in self._kept else 1 for a, n in enumerate(input_shape)]
        if not self.given:
            more = {"dtype": "float32", "trainable": False}
            self.adapt_mean = self.add_weight(shape, "zeros", name="mean", **more)
            self.adapt_variance = self.add_weight(shape, "ones", name="variance", **more)
            self.count = self.add_weight((), "zeros", "int32", trainable=False, name="count")

    def adapt(self, data: Any) -> None:
        """Finds means and variances of an array, or of all batches of an iterable together.

        Batches are joined by Chan et al. (1979), so that their sizes do not matter.
        """
        count, mean, squares = 0, np.zeros(()), np.zeros(())
        for batch in batches_of(self, data):
            if not self.built:
                self.build((None, *batch.shape[1:]))
            batch = batch.astype("float64")
            reduced = tuple(a for a in range(batch.ndim) if a not in self._kept)
            size = int(np.prod([batch.shape[a] for a in reduced]))
            if not size:
                continue
            apart = batch.mean(reduced) - mean
            squares = squares + batch.var(reduced) * size + apart**2 * count * size / (count + size)
            mean = mean + apart * size / (count + size)
            count += size
        if not count:
            raise wrong(self, "adapt() was given no data")
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(squares / count)
        self.count.assign(min(count, 2**31 - 1))

    @property
    def mean(self) -> Any:
        """The means, in a shape that broadcasts to the inputs."""
        return self._statistic("mean")

    @property
    def variance(self) -> Any:
        """The variances, in a shape that broadcasts to the inputs."""
        return self._statistic("variance")

    def _statistic(self, name: str) -> Any:
        if not self.given:
            return getattr(self, f"adapt_{name}").value.reshape(self._spread)
        value = jnp.asarray(self.given[name], "float32")
        spread = self._spread if value.size == np.prod(self._spread) else (1,) * len(self._spread)
        return jnp.broadcast_to(value.reshape(spread), self._spread)

    def call(self, inputs: Any) -> Any:
        deviation = jnp.maximum(jnp.sqrt(self.variance), dtypes.epsilon())
        x = inputs.astype(self.compute_dtype)
        if self.invert:
            return (self.mean + x * deviation).astype(self.compute_dtype)
        return ((x - self.mean) / deviation).astype(self.compute_dtype)


@declared
class CategoryEncoding(NumberLayer):
    """Categories, whole numbers in [0, num_tokens), as rows of numbers.

    "one_hot": [..., 1] or [...] -> [..., N]; "multi_hot" and "count": [..., n] -> [..., N], 1 where
    a category occurs, or how often it does.

    Args:
        num_tokens: N.
        output_mode: as above.
        [shared]

    Call argument count_weights: numbers like the inputs, summed instead of counted.

    >>> CategoryEncoding(4, output_mode="count")(np.array([[1, 3, 3]])).tolist()
    [[0.0, 1.0, 0.0, 2.0]]
    """

    unsaved = ("sparse", "autocast")
    modes = ENCODINGS
    num_tokens: Whole = None  # type: ignore[assignment]
    output_mode: Mode = "multi_hot"
    sparse: Dense = False

    def _set_up(self) -> None:
        self.autocast = False

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        if count_weights is not None and self.output_mode != "count":
            raise ValueError(
                f"count_weights are for output_mode='count'; it is {self.output_mode!r}"
            )
        if not isinstance(inputs, jax.core.Tracer):
            values = np.asarray(inputs)
            if values.size and not 0 <= values.min() <= values.max() < self.num_tokens:
                raise ValueError(
                    f"categories lie in [0, {self.num_tokens}); received some from "
                    f"{values.min()} to {values.max()}. Raise num_tokens or mend the data."
                )
        how = self.num_tokens, self.output_mode, count_weights, self.compute_dtype
        return encode(inputs.astype("int32"), *how)


@declared
class Discretization(NumberLayer, ClosedLayer):
    """Numbers as the index of their bin: i such that boundary i - 1 <= x < boundary i.

    Args:
        bin_boundaries: rising numbers; n of them make n + 1 bins.
        num_bins: without boundaries: `adapt` finds those that put as many samples in each bin.
        epsilon: of Keras's signature, the error of its sketch: here the quantiles are exact.
        output_mode: "int", or how the indices are encoded, see `CategoryEncoding`.
        [shared]

    Raises:
        ValueError: not exactly one of bin_boundaries and num_bins; called before `adapt`.

    >>> Discretization([0.0, 1.0])(np.array([-1.0, 0.0, 0.5, 7.0])).tolist()
    [0, 1, 1, 2]
    """

    plain_dtype = True
    learns = "bin_boundaries"
    modes = ("int", *ENCODINGS)
    bin_boundaries: Any = None
    num_bins: Whole | None = None
    epsilon: float = 0.01
    output_mode: Mode = "int"
    sparse: Dense = False
    if not TYPE_CHECKING:  # where options of layers are keyword-only
        dtype: Any = None
        name: str | None = None

    def _set_up(self) -> None:
        edges, self.given = self.bin_boundaries, self.bin_boundaries is not None
        if self.given != (self.num_bins is None):
            received = f"bin_boundaries={edges!r}, num_bins={self.num_bins!r}"
            raise wrong(self, f"give bin_boundaries or num_bins, one of them: {received}")
        if self.num_bins is not None:
            arguments.whole(self, "num_bins", self.num_bins, 2)
        else:
            self.bin_boundaries = [float(edge) for edge in edges]
            if sorted(self.bin_boundaries) != self.bin_boundaries:
                raise arguments.refuse(self, "bin_boundaries", edges, "rising numbers")

    @property
    def learnt(self) -> bool:
        """Whether there are boundaries."""
        return self.bin_boundaries is not None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """After `adapt` a config has both `num_bins` and the boundaries that were found."""
        if config.get("num_bins") is None or config.get("bin_boundaries") is None:
            return super().from_config(config)
        layer = super().from_config({**config, "bin_boundaries": None})
        layer.bin_boundaries = list(config["bin_boundaries"])
        return layer

    def adapt(self, data: Any) -> None:
        """Finds the boundaries: quantiles of all numbers of an array or of batches."""
        values = np.sort(np.concatenate([b.ravel() for b in batches_of(self, data)]))
        if not values.size:
            raise wrong(self, "adapt() was given no data")
        shares = np.arange(1, values.size + 1) / values.size
        bins = self.num_bins or 1
        wanted = np.arange(1, bins) / bins
        self.bin_boundaries = np.interp(wanted, shares, values).tolist()

    def call(self, inputs: Any) -> Any:
        if not self.learnt:
            raise ValueError("there are no bin boundaries yet: call adapt(data) first")
        indices = rank(np.asarray(self.bin_boundaries, "float32"), inputs.astype("float32"))
        if self.output_mode == "int":
            return indices
        size = len(self.bin_boundaries) + 1
        return encode(indices, size, self.output_mode, dtype=self.compute_dtype)


__all__ = ["CategoryEncoding", "Discretization", "Normalization", "Rescaling"]
