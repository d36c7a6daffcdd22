"""Activations as layers, and the small layers that only look at their input: Identity, Lambda,
Masking.

The functions themselves are in `carnyx/activations.py`.
"""

from __future__ import annotations

import inspect
from typing import Any

import jax.numpy as jnp

from carnyx import activations
from carnyx.core.config import get_registered_object
from carnyx.core.fields import declared
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import Declared, FromZero, Number, Several


class Elementwise(Declared, Layer):
    """What layers without weights that keep shape and mask share."""

    supports_masking = True


@declared
class Activation(Elementwise):
    """An activation function as a layer.

    Args:
        activation: a name or a function.

    >>> Activation("relu")(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    activation: Any

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs)


@declared
class ReLU(Elementwise):
    """max_value where x >= max_value; x above `threshold`; else negative_slope (x - threshold).

    Args:
        max_value: the largest output, from 0; None for no bound.
        negative_slope: from 0.
        threshold: from 0.

    >>> ReLU(max_value=3, negative_slope=0.5)(jnp.array([-2.0, 2.0, 4.0])).tolist()
    [-1.0, 2.0, 3.0]
    """

    max_value: FromZero | None = None
    negative_slope: FromZero = 0.0
    threshold: FromZero = 0.0

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(Elementwise):
    """x above 0, negative_slope x below (Maas et al. 2013).

    Args:
        negative_slope: from 0.

    >>> LeakyReLU(0.5)(jnp.array([-2.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    negative_slope: float

    def __init__(self, negative_slope: FromZero = 0.3, **kwargs: Any) -> None:
        negative_slope = kwargs.pop("alpha", negative_slope)  # its name before Keras 3
        super().__init__(**kwargs)
        arguments.keep_given(self, locals())

    def call(self, inputs: Any) -> Any:
        return activations.leaky_relu(inputs, self.negative_slope)


@declared
class PReLU(Elementwise):
    """x above 0, alpha x below, with a learned alpha for each place and channel.

    Weights: alpha, of the shape of a sample with 1 on the shared axes.

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: how alpha starts, a penalty on it,
            a projection after each update.
        shared_axes: axes from 1 along which alpha is the same: [1, 2] behind a convolution of
            images gives one for each channel.

    He et al. (2015).

    >>> layer = PReLU("ones", shared_axes=[1])
    >>> layer(-jnp.ones((2, 3, 4))).shape, layer.alpha.shape
    ((2, 3, 4), (1, 4))
    """

    alpha_initializer: Any = "Zeros"
    alpha_regularizer: Any = None
    alpha_constraint: Any = None
    shared_axes: Several | None = None

    def _set_up(self) -> None:
        if self.shared_axes is not None:
            self.shared_axes = list(self.shared_axes)
        if not all(arguments.is_whole(a) and a > 0 for a in self.shared_axes or ()):
            raise arguments.refuse(self, "shared_axes", self.shared_axes, "axes from 1")

    def build(self, input_shape: Any) -> None:
        shared = self.shared_axes or ()
        if any(axis >= len(input_shape) for axis in shared):
            expected = f"axes of the input, of shape {tuple(input_shape)}"
            raise arguments.refuse(self, "shared_axes", shared, expected)
        shape = tuple(
            1 if axis in shared else arguments.known(self, input_shape, axis, "an unshared axis")
            for axis in range(1, len(input_shape))
        )
        self.alpha = arguments.add_weight(self, "alpha", shape)
        axes: dict[int, int | None] = {a: n for a, n in enumerate(shape, 1) if a not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes)

    def call(self, inputs: Any) -> Any:
        return jnp.maximum(inputs, 0) + self.alpha.value * jnp.minimum(inputs, 0)


@declared
class ELU(Elementwise):
    """x above 0, alpha (exp(x) - 1) below (Clevert et al. 2016).

    >>> ELU()(jnp.array([-100.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    alpha: Number = 1.0

    def call(self, inputs: Any) -> Any:
        return activations.elu(inputs, self.alpha)


@declared
class Softmax(Elementwise):
    """exp(x) / sum of exp(x) along `axis`.

    Args:
        axis: an axis or a list of axes.

    Call arguments:
        mask: bool like the inputs; where False the result is 0.

    >>> Softmax()(jnp.zeros((1, 3)), mask=jnp.array([[True, False, True]])).tolist()
    [[0.5, 0.0, 0.5]]
    """

    axis: Any = -1

    def call(self, inputs: Any, mask: Any = None) -> Any:
        axis = arguments.axes_of(self, self.axis, inputs.ndim)
        if mask is None:
            return activations.softmax(inputs, axis)
        inputs = jnp.where(mask, inputs, jnp.finfo(inputs.dtype).min)
        return jnp.where(mask, activations.softmax(inputs, axis), 0)


@declared
class Identity(Elementwise):
    """Passes its input on.

    >>> Identity()([1, 2])
    [1, 2]
    """

    def _set_up(self) -> None:
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs


@declared
class Lambda(Declared, Layer):
    """A function as a layer.

    A file holds the function's name only, never its code: it is loaded again if the function is
    registered with `carnyx.saving.register_keras_serializable` or given in `custom_objects`.

    Args:
        function: called with the inputs, with `arguments`, and with `mask` and `training` if it
            has parameters of these names.
        output_shape: not needed (shapes are found by tracing); kept for Keras's signature.
        mask: the output's mask, or a function (inputs, mask) -> mask; None passes none on.
        arguments: keyword arguments for `function`.

    >>> Lambda(lambda x, by: x * by, arguments={"by": 3})(jnp.ones((1, 2))).tolist()
    [[3.0, 3.0]]
    """

    function: Any
    output_shape: Any = None
    mask: Any = None
    arguments: Any = None

    def _set_up(self) -> None:
        if not callable(self.function):
            raise ValueError(f"Lambda '{self.name}': function must be callable: {self.function!r}")
        self.arguments = dict(self.arguments or {})
        self.supports_masking = self.mask is not None
        try:
            names = set(inspect.signature(self.function).parameters)
        except ValueError:  # some built-in functions have no signature
            names = set()
        self._passed = names & {"mask", "training"}

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        if name in ("output_shape", "mask"):
            return value is not None
        return super()._in_config(name, value, default, owner)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        config = dict(config)
        for key in ("function", "mask", "output_shape"):
            stored = config.get(key)
            if isinstance(stored, dict) or (key == "function" and isinstance(stored, str)):
                config[key] = _registered_function(config.get("name"), stored)
        return super().from_config(config)

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        given = {"mask": mask, "training": training}
        extra = {name: given[name] for name in self._passed}
        return self.function(inputs, **{**extra, **self.arguments})

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        if self.mask is None:
            return super().compute_mask(inputs, previous_mask)
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask


def _registered_function(layer: Any, stored: Any) -> Any:
    """The user's function that a config names; nothing else is ever run."""
    names = [stored]
    if isinstance(stored, dict):
        names = [stored.get("registered_name"), stored.get("config")]
    for name in names:
        if isinstance(name, str) and get_registered_object(name) is not None:
            return get_registered_object(name)
    raise ValueError(
        f"Lambda '{layer}': its function {names[-1] if isinstance(names[-1], str) else ''!r} is "
        "neither registered nor in custom_objects, and Carnyx does not run code from files. "
        "Register it with @carnyx.saving.register_keras_serializable() before loading, or pass "
        "custom_objects={name: function}."
    )


@declared
class Masking(Elementwise):
    """Marks steps where every feature equals `mask_value`: they are masked for later layers.

    [B, T, ..., C] -> the same with masked steps at 0, and a mask [B, T, ...].

    >>> Masking()(jnp.array([[[1.0, 0.0], [0.0, 0.0]]]))._keras_mask.tolist()
    [[True, False]]
    """

    mask_value: Number = 0.0

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return jnp.any(inputs != self.mask_value, axis=-1)

    def call(self, inputs: Any) -> Any:
        kept = self.compute_mask(inputs)
        return inputs * kept[..., None].astype(inputs.dtype)


__all__ = "Activation ELU Identity Lambda LeakyReLU Masking PReLU ReLU Softmax".split()
