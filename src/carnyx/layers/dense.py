"""Dense and EinsumDense: weighted sums over the last axis, or over axes that an equation names.

Convolutions are in `conv.py`; checks and the handling of weight options in `arguments.py`.
"""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import jax.numpy as jnp

from carnyx.core.fields import declared
from carnyx.core.layer import InputSpec
from carnyx.layers import arguments
from carnyx.layers.arguments import KernelOptions, Several, Whole
from carnyx.layers.lora import Adaptable


@declared
class Dense(KernelOptions, Adaptable):
    """activation(x W + b): [B, ..., D] -> [B, ..., U].

    Weights: kernel W [D, U], bias b [U].

    Args:
        [shared]

    Raises:
        ValueError: `units` below 1; an input of fewer than 2 axes or of unknown last axis.

    >>> import numpy as np
    >>> layer = Dense(3, activation="relu")
    >>> layer(np.ones((2, 4))).shape, [w.path for w in layer.weights]
    ((2, 3), ['dense/kernel', 'dense/bias'])
    """

    supports_masking = True
    input_spec = InputSpec(min_ndim=2)
    units: Whole
    activation: Any = None
    use_bias: bool = True

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        if name == "activity_regularizer":  # in Keras's file only when it was given
            return value is not None
        return super()._in_config(name, value, default, owner)

    def build(self, input_shape: Any) -> None:
        width = arguments.known(self, input_shape, -1, "the last axis")
        self.kernel = arguments.add_weight(self, "kernel", (width, self.units))
        self.bias = arguments.add_weight(self, "bias", (self.units,)) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=2, axes={-1: width})
        self._start_lora()

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = jnp.matmul(inputs, self.kernel.value)
        if self.lora_enabled:
            a, b = (side.value for side in self._sides())
            outputs = outputs + self._scale() * jnp.matmul(jnp.matmul(inputs, a), b)
        if self.bias is not None:
            outputs = outputs + self.bias.value
        return self.activation(outputs)


@declared
class EinsumDense(Adaptable):
    """activation(einsum(equation, x, W) + b).

    Weights: kernel W, its axes named by the second part of the equation; bias b over `bias_axes`.

    Args:
        equation: as in einsum, "input,kernel->output"; "..." may stand for leading axes that both
            input and output have.
        output_shape: sizes of the output without the batch axis (with "...": of the last axes),
            None for sizes that are those of the input.
        bias_axes: letters of the output over which the bias extends; None for no bias.
        [shared]

    Raises:
        ValueError: an equation of another form, or sizes that do not fit it.

    >>> import numpy as np
    >>> EinsumDense("btd,du->btu", (None, 8), bias_axes="u")(np.ones((2, 5, 4))).shape
    (2, 5, 8)
    """

    saved = ("activity_regularizer",)
    equation: str
    output_shape: Several
    activation: Any = None
    bias_axes: str | None = None
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None

    def _set_up(self) -> None:
        super()._set_up()
        self._terms()

    def _terms(self) -> tuple[str, str, str]:
        """The letters of input, kernel and output; "..." left out."""
        sides = self.equation.replace(" ", "").split("->")
        terms = sides[0].split(",") if len(sides) == 2 else []
        if len(terms) != 2 or "..." in terms[1]:
            raise arguments.refuse(
                self, "equation", self.equation, "of the form 'input,kernel->output'"
            )
        if (terms[0].startswith("...")) != (sides[1].startswith("...")):
            raise arguments.refuse(
                self, "equation", self.equation, "with '...' first on both sides or on none"
            )
        outer, kernel, result = (t.replace("...", "") for t in (*terms, sides[1]))
        unknown = set(result) - set(outer) - set(kernel)
        if unknown or set(self.bias_axes or "") - set(result):
            raise arguments.refuse(
                self,
                "equation",
                self.equation,
                f"such that every letter of the output {result!r} is in the input or the kernel, "
                f"and every letter of bias_axes={self.bias_axes!r} in the output",
            )
        return outer, kernel, result

    def _sizes(self, input_shape: Any) -> dict[str, int | None]:
        """The size of each letter."""
        outer, _, result = self._terms()
        elided = "..." in self.equation
        if (len(outer) > len(input_shape)) or (not elided and len(outer) != len(input_shape)):
            raise ValueError(
                f"EinsumDense '{self.name}': the equation {self.equation!r} names {len(outer)} "
                f"axes of the input. Received an input of shape {tuple(input_shape)}."
            )
        table = dict(zip(reversed(outer), reversed(input_shape), strict=False))
        given = dict(zip(reversed(result), reversed(self.output_shape), strict=False))
        for letter, size in given.items():
            own = table.get(letter)
            if size is not None and own is not None and size != own:
                raise ValueError(
                    f"EinsumDense '{self.name}': axis {letter!r} of {self.equation!r} has size "
                    f"{own} in the input {tuple(input_shape)} and {size} in "
                    f"output_shape={self.output_shape}. Make them equal, or use None there."
                )
            table[letter] = own if size is None else size
        return table

    def build(self, input_shape: Any) -> None:
        _, kernel, result = self._terms()
        table = self._sizes(input_shape)
        self.kernel = arguments.add_weight(self, "kernel", self._shape(kernel, table, input_shape))
        self.bias = None
        if self.bias_axes is not None:
            first = min(result.index(letter) for letter in self.bias_axes)
            letters = [x if x in self.bias_axes else "" for x in result[first:]]
            self.bias = arguments.add_weight(self, "bias", self._shape(letters, table, input_shape))
        self._start_lora()

    def _shape(self, letters: Any, table: Any, input_shape: Any) -> tuple[int, ...]:
        shape = tuple(table.get(x) if x else 1 for x in letters)
        if None in shape:
            raise ValueError(
                f"EinsumDense '{self.name}': the weights of {self.equation!r} need sizes that "
                f"neither the input {tuple(input_shape)} nor output_shape={self.output_shape} "
                f"gives: {dict(zip(letters, shape, strict=True))}"
            )
        return shape  # type: ignore[return-value]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = jnp.einsum(self.equation, inputs, self.kernel.value)
        if self.lora_enabled:
            outputs = outputs + self._scale() * self._low_rank(inputs)
        if self.bias is not None:
            outputs = outputs + self.bias.value
        return self.activation(outputs)

    def _low_rank(self, inputs: Any) -> Any:
        """The equation with A B for the kernel, whose last axis A has as the rank."""
        sides, result = self.equation.replace(" ", "").split("->")
        outer, kernel = sides.split(",")
        rank = next(letter for letter in ascii_letters if letter not in self.equation)
        equation = f"{outer},{kernel[:-1]}{rank},{rank}{kernel[-1]}->{result}"
        a, b = (side.value for side in self._sides())
        return jnp.einsum(equation, inputs, a, b)


__all__ = """
    Dense EinsumDense
""".split()
