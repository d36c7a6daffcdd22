"""Layers around another layer: Wrapper, the base, and TimeDistributed.

`Bidirectional` is in `rnn.py`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core import state
from carnyx.core.fields import declared
from carnyx.core.layer import InputSpec, Layer
from carnyx.layers.arguments import Declared


@declared
class Wrapper(Declared, Layer):
    """Base of layers that hold another in `self.layer`.

    >>> from carnyx.layers.dense import Dense
    >>> Wrapper(Dense(2)).layer.units
    2
    """

    layer: Any

    def _set_up(self) -> None:
        if not isinstance(self.layer, Layer):
            raise ValueError(
                f"{type(self).__name__} '{self.name}': layer must be a Layer. Received: "
                f"{self.layer!r} of type {type(self.layer).__name__}. Call the class: Dense(10) "
                "rather than Dense."
            )

    def build(self, input_shape: Any = None) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True


class TimeDistributed(Wrapper):
    """The same layer at every step of time: [B, T, ...] -> [B, T, ...].

    All steps are handed to the layer as one batch of B T samples.

    Args:
        layer: the layer, which sees samples without the time axis.

    Raises:
        ValueError: an input of fewer than 3 axes.

    >>> import numpy as np
    >>> from carnyx.layers.dense import Dense
    >>> TimeDistributed(Dense(8))(np.ones((2, 10, 4))).shape
    (2, 10, 8)
    """

    supports_masking = True
    input_spec = InputSpec(min_ndim=3)

    def build(self, input_shape: Any = None) -> None:
        super().build((None, *input_shape[2:]))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        times = inputs.shape[:2]
        flat = jnp.reshape(inputs, (times[0] * times[1], *inputs.shape[2:]))
        if mask is not None and mask.ndim > 2:
            state.set_mask(flat, jnp.reshape(mask, (times[0] * times[1], *mask.shape[2:])))
        outputs = self.layer(flat)
        return jax.tree.map(lambda y: jnp.reshape(y, (*times, *y.shape[1:])), outputs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The steps that count; what the layer says about the inside of a step is not passed on."""
        if previous_mask is None or previous_mask.ndim <= 2:
            return previous_mask
        return jnp.any(previous_mask, axis=tuple(range(2, previous_mask.ndim)))


__all__ = """
    TimeDistributed Wrapper
""".split()
