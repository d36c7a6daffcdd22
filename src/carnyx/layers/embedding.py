"""Embedding: a table of vectors, looked up by whole numbers."""

from __future__ import annotations

from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np

from carnyx.core.fields import Given, declared
from carnyx.layers import arguments
from carnyx.layers.arguments import Whole
from carnyx.layers.lora import Adaptable


@declared
class Embedding(Adaptable):
    """Row x of the table: [B, ...] whole numbers in [0, input_dim) -> [B, ..., output_dim].

    Weights: embeddings [input_dim, output_dim]. A number outside the table gives NaN.

    Args:
        input_dim: the number of rows, the largest index + 1.
        output_dim: the size of a vector.
        mask_zero: whether index 0 is padding, to be masked for later layers.
        weights: the table to start with, as an array or a list of one array.
        [shared]

    Raises:
        ValueError: sizes below 1; numbers that are not whole.

    >>> import numpy as np
    >>> Embedding(10, 4, mask_zero=True)(np.array([[3, 0]]))._keras_mask.tolist()
    [[True, False]]
    """

    saved, unsaved = ("activity_regularizer",), ("autocast",)
    lora_weight = "embeddings"
    input_dim: Whole  # type: ignore[misc]  # an option of any Layer too
    output_dim: Whole  # type: ignore[misc]
    embeddings_initializer: Any = "uniform"
    embeddings_regularizer: Any = None
    embeddings_constraint: Any = None
    mask_zero: bool = False
    weights: Given = None

    def _set_up(self, weights: Any) -> None:
        super()._set_up()
        self.autocast = False  # bfloat16 holds whole numbers up to 256 only
        self.supports_masking = self.mask_zero
        if weights is not None:
            self.build(None)
            given = weights if isinstance(weights, (list, tuple)) else [weights]
            self.set_weights([*given, *self.get_weights()[1:]])

    def build(self, input_shape: Any = None) -> None:
        shape = (self.input_dim, self.output_dim)
        self.embeddings = arguments.add_weight(self, "embeddings", shape)
        self._start_lora()

    def call(self, inputs: Any) -> Any:
        indices = inputs
        if not jnp.issubdtype(inputs.dtype, jnp.integer):
            self._check_whole(inputs)
            indices = inputs.astype("int32")
        outputs = jnp.take(self.embeddings.value, indices, axis=0)
        if self.lora_enabled:
            a, b = (side.value for side in self._sides())
            outputs = outputs + self._scale() * jnp.matmul(jnp.take(a, indices, axis=0), b)
        return outputs.astype(self.compute_dtype)

    def _check_whole(self, inputs: Any) -> None:
        """Floats serve as indices, as in Keras (an Input's dtype is float by default), if whole.

        In a trace there are no values to look at.
        """
        if isinstance(inputs, jax.core.Tracer):
            return
        values = np.asarray(inputs, "float64")
        if not np.array_equal(values, np.trunc(values)):
            raise ValueError(
                f"Embedding '{self.name}': inputs are indices, whole numbers from 0 to "
                f"{self.input_dim - 1}. Received {inputs.dtype} with fractions, such as "
                f"{values[values != np.trunc(values)][0]:g}. Encode the data as integers first."
            )

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return jnp.not_equal(inputs, 0) if self.mask_zero else None


class ReversibleEmbedding(Embedding):
    """An `Embedding` that also turns vectors back into logits of the rows: x E' with reverse=True.

    [B, ...] whole numbers -> [B, ..., output_dim]; reverse: [B, ..., output_dim] ->
    [B, ..., input_dim].

    Args:
        input_dim, output_dim, mask_zero: as for `Embedding`.
        tie_weights: whether one table serves both ways; else the way back has a kernel of its own.
        reverse_dtype: the type of the way back; None for the layer's.
        logit_soft_cap: c gives c tanh(logits / c); None for the logits.
        [shared]

    Press & Wolf (2017).

    >>> import numpy as np
    >>> layer = ReversibleEmbedding(10, 4)
    >>> layer(layer(np.array([[3, 0]])), reverse=True).shape
    (1, 2, 10)
    """

    tie_weights: bool
    reverse_dtype: Any
    logit_soft_cap: Any

    def __init__(  # not declared, as Keras's signature lacks what Embedding takes besides
        self,
        input_dim: Whole,
        output_dim: Whole,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"embeddings_constraint": embeddings_constraint, "mask_zero": mask_zero}
        super().__init__(input_dim, output_dim, **kwargs)
        arguments.keep_given(self, locals())

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        if not self.tie_weights:
            shape = (self.output_dim, self.input_dim)
            self.reverse_embeddings = arguments.add_weight(
                self, "reverse_embeddings", shape, prefix="embeddings"
            )

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        if not reverse:
            return super().call(inputs)
        kernel = self._merged().T if self.tie_weights else self.reverse_embeddings.value
        dtype = self.reverse_dtype or self.compute_dtype
        logits = inputs.astype(dtype) @ kernel.astype(dtype)
        cap = self.logit_soft_cap
        return logits if cap is None else cap * jnp.tanh(logits / cap)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        if jnp.issubdtype(inputs.dtype, jnp.floating) and inputs.ndim > 2:
            return previous_mask
        return super().compute_mask(inputs, previous_mask)


__all__ = """
    Embedding ReversibleEmbedding
""".split()
