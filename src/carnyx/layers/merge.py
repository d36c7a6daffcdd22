"""Layers that join several tensors into one (Add, Concatenate, Dot...), also as functions."""

from __future__ import annotations

import functools
import operator
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax

from carnyx.core import errors, symbol
from carnyx.core.fields import declared
from carnyx.core.layer import Layer, is_shape
from carnyx.core.symbol import KerasTensor
from carnyx.layers import arguments
from carnyx.layers.arguments import Axis, Declared


@declared
class Merge(Declared, Layer):
    """What merging layers share: elementwise ones only say how a `pair` is joined.

    Inputs of lower rank get axes of size 1 behind the batch axis; then sizes are equal or 1.
    """

    supports_masking = True
    least: ClassVar[int] = 1
    most: ClassVar[int | None] = None
    pair: ClassVar[Any] = None  # joins two tensors: of several the first two, then the third...

    def build(self, input_shape: Any) -> None:
        if input_shape != [] and is_shape(input_shape):
            raise ValueError(
                f"{type(self).__name__} '{self.name}' takes a list of tensors. Received one of "
                f"shape {input_shape}. Call it on a list: layer([x, y])."
            )
        given = len(input_shape)
        if given < self.least or (self.most is not None and given > self.most):
            wanted = errors.count(self.least, "tensor")
            wanted = wanted if self.most else f"at least {wanted}"
            raise ValueError(
                f"{type(self).__name__} '{self.name}' takes {wanted} and received {given}."
            )
        self.check([tuple(s) for s in input_shape])

    def check(self, shapes: list[tuple[int | None, ...]]) -> None:
        """Raises ValueError for shapes that do not go together."""
        batches = {s[0] for s in shapes if s and s[0] is not None}
        if len(batches) > 1:
            raise self._mismatch(shapes, "the same batch size")
        padded = _align_shapes(shapes)
        for axis in range(1, len(padded[0])):
            if len({s[axis] for s in padded} - {None, 1}) > 1:
                raise self._mismatch(shapes, f"sizes that are equal or 1 on every axis ({axis})")

    def _mismatch(self, shapes: Any, wanted: str) -> ValueError:
        return ValueError(
            f"{type(self).__name__} '{self.name}': inputs must have {wanted}. Received shapes "
            f"{shapes}. Reshape or project one of them so that they agree."
        )

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """By abstract evaluation, with sizes that one input knows assumed for the others.

        Without that, an unknown size tried as 83 would not fit a known size of 5.
        """
        filled = _fill_unknown(inputs, self.joined_axis(inputs))
        return symbol.infer(self, (filled, *args), kwargs)

    def joined_axis(self, inputs: Any) -> int | None:
        """The axis on which sizes may differ."""
        return None

    def call(self, inputs: Any) -> Any:
        rank = max(x.ndim for x in inputs)
        return functools.reduce(self.pair, [_expand(x, rank) for x in inputs])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """A step counts if it counts in any input; no mask if an input has none."""
        if not isinstance(previous_mask, (list, tuple)) or any(m is None for m in previous_mask):
            return None
        return functools.reduce(jnp.logical_or, previous_mask)


def _expand(x: Any, rank: int) -> Any:
    return jnp.expand_dims(x, tuple(range(1, 1 + rank - x.ndim))) if x.ndim < rank else x


def _align_shapes(shapes: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    rank = max(len(s) for s in shapes)
    return [(*s[:1], *(1,) * (rank - len(s)), *s[1:]) for s in shapes]


def _fill_unknown(inputs: list[KerasTensor], joined: int | None) -> list[KerasTensor]:
    aligned = _align_shapes([t.shape for t in inputs])
    common = [
        next((s for s in sizes if s not in (None, 1)), None) if axis != joined else None
        for axis, sizes in enumerate(zip(*aligned, strict=True))
    ]
    filled = []
    for tensor, shape in zip(inputs, aligned, strict=True):
        whole = [c if n is None else n for n, c in zip(shape, common, strict=True)]
        skipped = len(whole) - len(tensor.shape)
        filled.append(KerasTensor((*whole[:1], *whole[1 + skipped :]), tensor.dtype))
    return filled


class Add(Merge):
    """x1 + x2 + ..., elementwise.

    >>> Add()([jnp.ones((2, 3)), jnp.ones((2, 3))]).tolist()[0]
    [2.0, 2.0, 2.0]
    """

    pair = staticmethod(operator.add)


class Subtract(Merge):
    """x1 - x2, elementwise, of exactly two.

    >>> Subtract()([jnp.ones((1, 2)), jnp.full((1, 2), 3.0)]).tolist()
    [[-2.0, -2.0]]
    """

    least = most = 2
    pair = staticmethod(operator.sub)


class Multiply(Merge):
    """x1 * x2 * ..., elementwise.

    >>> Multiply()([jnp.full((1, 2), 2.0), jnp.full((1, 2), 3.0)]).tolist()
    [[6.0, 6.0]]
    """

    pair = staticmethod(operator.mul)


class Average(Merge):
    """(x1 + ... + xn) / n, elementwise.

    >>> Average()([jnp.full((1, 2), 2.0), jnp.full((1, 2), 3.0)]).tolist()
    [[2.5, 2.5]]
    """

    pair = staticmethod(operator.add)

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) / len(inputs)


class Maximum(Merge):
    """The largest, elementwise.

    >>> Maximum()([jnp.full((1, 2), 2.0), jnp.full((1, 2), 3.0)]).tolist()
    [[3.0, 3.0]]
    """

    pair = staticmethod(jnp.maximum)


class Minimum(Merge):
    """The smallest, elementwise.

    >>> Minimum()([jnp.full((1, 2), 2.0), jnp.full((1, 2), 3.0)]).tolist()
    [[2.0, 2.0]]
    """

    pair = staticmethod(jnp.minimum)


@declared
class Concatenate(Merge):
    """Tensors one behind another on `axis`; on the other axes their sizes are equal.

    Args:
        axis: an axis of the inputs, the batch being axis 0.

    Raises:
        ValueError: other sizes that differ, or an axis that the inputs do not have.

    >>> Concatenate(axis=1)([jnp.ones((2, 3, 4)), jnp.ones((2, 5, 4))]).shape
    (2, 8, 4)
    """

    axis: Axis = -1

    def check(self, shapes: list[tuple[int | None, ...]]) -> None:
        rank = len(shapes[0])
        (axis,) = arguments.axes_of(self, self.axis, rank)
        if any(len(s) != rank for s in shapes):
            raise self._mismatch(shapes, "the same number of axes")
        for other in range(rank):
            if other != axis and len({s[other] for s in shapes} - {None}) > 1:
                raise self._mismatch(shapes, f"the same sizes on every axis but {axis} ({other})")

    def joined_axis(self, inputs: Any) -> int:
        return self.axis % len(inputs[0].shape)

    def call(self, inputs: Any) -> Any:
        return jnp.concatenate(inputs, self.axis)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Masks are joined as the tensors are; an input without one counts everywhere."""
        masks = previous_mask if isinstance(previous_mask, (list, tuple)) else []
        if all(m is None for m in masks):
            return None
        rank = max(m.ndim for m in masks if m is not None)
        axis = self.axis % inputs[0].ndim
        full = [
            jnp.ones(x.shape[:rank], bool) if m is None else m
            for x, m in zip(inputs, masks, strict=True)
        ]
        if axis < rank:
            return jnp.concatenate(full, axis)
        return functools.reduce(jnp.logical_or, full)


@declared
class Dot(Merge):
    """Sums of products over one axis of each of two tensors, sample by sample.

    z[b, i..., j...] = sum over k of x[b, i..., k] y[b, j..., k]; [B, 1] for two matrices.

    Args:
        axes: the axis of both that is summed over, or a pair with one for each; the batch is 0.
        normalize: whether both are scaled to length 1 along that axis before (cosine similarity).

    Raises:
        ValueError: axes that are no axes of the inputs, or of different sizes.

    >>> Dot(axes=(1, 2))([jnp.ones((2, 3, 4)), jnp.ones((2, 5, 3))]).shape
    (2, 4, 5)
    """

    least = most = 2
    axes: Any
    normalize: bool = False

    def _set_up(self) -> None:
        if isinstance(self.axes, list):
            self.axes = tuple(self.axes)
        pair = self._pair()
        if len(pair) != 2 or not all(arguments.is_whole(a) and a != 0 for a in pair):
            wanted = "a whole number or a pair, not the batch axis 0"
            raise arguments.refuse(self, "axes", self.axes, wanted)

    def _pair(self) -> tuple[int, ...]:
        return self.axes if isinstance(self.axes, tuple) else (self.axes, self.axes)

    def _axes(self, shapes: Any) -> tuple[int, ...]:
        pair = self._pair()
        for axis, shape in zip(pair, shapes, strict=True):
            if not axis % len(shape) > 0 or not -len(shape) < axis < len(shape):
                wanted = f"an axis {axis} behind the batch, as axes={self.axes}"
                raise self._mismatch(shapes, wanted)
        return tuple(a % len(s) for a, s in zip(pair, shapes, strict=True))

    def check(self, shapes: list[tuple[int | None, ...]]) -> None:
        a, b = self._axes(shapes)
        sizes = {shapes[0][a], shapes[1][b]} - {None}
        if len(sizes) > 1:
            raise self._mismatch(shapes, f"the same size on the axes {(a, b)} that are summed over")

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        (x, y), (a, b) = inputs, self._axes([t.shape for t in inputs])
        size = x.shape[a] or y.shape[b]
        filled = [
            KerasTensor((*t.shape[:k], size, *t.shape[k + 1 :]), t.dtype)
            for t, k in ((x, a), (y, b))
        ]
        return symbol.infer(self, (filled, *args), kwargs)

    def call(self, inputs: Any) -> Any:
        x, y = inputs
        a, b = self._axes([x.shape, y.shape])
        if self.normalize:
            x, y = _unit(x, a), _unit(y, b)
        z = lax.dot_general(x, y, (((a,), (b,)), ((0,), (0,))))
        return z[:, None] if z.ndim == 1 else z

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None


def _unit(x: Any, axis: int) -> Any:
    """x divided by its length along `axis`; 1e-12 keeps zero vectors finite."""
    return x * lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis, keepdims=True), 1e-12))


def _function(layer: Any) -> Any:
    def function(inputs: Any, **kwargs: Any) -> Any:
        return layer(**kwargs)(inputs)

    function.__name__ = function.__qualname__ = layer.__name__.lower()
    function.__doc__ = f"`{layer.__name__}` as a function of a list of tensors."
    return function


add, subtract, multiply = map(_function, (Add, Subtract, Multiply))
average, maximum, minimum = map(_function, (Average, Maximum, Minimum))


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate` as a function of a list of tensors."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot` as a function of two tensors."""
    return Dot(axes=axes, **kwargs)(inputs)


__all__ = """
    Add Average Concatenate Dot Maximum Minimum Multiply Subtract add average
    concatenate dot maximum minimum multiply subtract
""".split()
