"""Functions written for JAX as layers: JaxLayer.

Modules of other frameworks cannot be a part of a Program that every engine runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core.layer import Layer, is_shape
from carnyx.core.symbol import PROBES
from carnyx.layers import arguments
from carnyx.random import SeedGenerator, draw_seed

ALLOWED = ("params", "state", "rng", "inputs", "training")


class JaxLayer(Layer):
    """A function of JAX (of Flax, Haiku or Equinox, say) as a layer with trainable parameters.

    outputs = call_fn(params, inputs), or with any of `state`, `rng`, `training` as arguments of
    those names; with `state` it returns (outputs, new state). The parameters, any structure of
    arrays, become the layer's weights.

    Args:
        call_fn: the function.
        init_fn: `init_fn(rng, inputs)` (and `training`) gives the params, or (params, state);
            called once, when the layer is built.
        params, state: the values to start with, instead of `init_fn`.
        seed: an int for the same numbers in every run; None for others each time.
        native_serialization_platforms: of Keras's signature.

    Raises:
        ValueError: neither `params` nor `init_fn`; an argument of `call_fn` of another name.

    >>> import numpy as np
    >>> layer = JaxLayer(lambda params, inputs: inputs @ params["w"], params={"w": np.ones((3, 2))})
    >>> layer(np.ones((1, 3), "float32")).tolist(), [w.path for w in layer.weights]
    ([[3.0, 3.0]], ['jax_layer/params_w'])
    """

    def __init__(
        self,
        call_fn: Callable[..., Any],
        init_fn: Callable[..., Any] | None = None,
        params: Any = None,
        state: Any = None,
        seed: int | None = None,
        native_serialization_platforms: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.call_fn, self.init_fn = call_fn, init_fn
        self.initial = params, state
        self.seed = seed
        self.native_serialization_platforms = native_serialization_platforms
        self._takes = self._names(call_fn, "call_fn")
        if "inputs" not in self._takes:
            expected = "a function of `inputs` (by that name)"
            raise arguments.refuse(self, "call_fn", call_fn, expected)
        if init_fn is None and params is None and state is None:
            raise arguments.refuse(self, "init_fn", None, "a function, or params must be given")
        self._init_takes = self._names(init_fn, "init_fn") if init_fn else ()
        self.seed_generator = SeedGenerator(seed) if "rng" in self._takes or init_fn else None

    def _names(self, function: Any, argument: str) -> tuple[str, ...]:
        names = tuple(inspect.signature(function).parameters)
        wrong = [name for name in names if name not in ALLOWED]
        if wrong:
            expected = f"a function of some of {ALLOWED}; it takes {wrong}"
            raise arguments.refuse(self, argument, function, expected)
        return names

    def build(self, input_shape: Any) -> None:
        params, state = self.initial
        if params is None and state is None:
            params, state = self._initialise(input_shape)
        self.params = self._variables("params", params, trainable=True)
        self.state = self._variables("state", state, trainable=False)

    def _initialise(self, input_shape: Any) -> tuple[Any, Any]:
        """Params and state from `init_fn`, on placeholders with the first probe for None."""

        def ones(shape: Any) -> Any:
            return jnp.ones([PROBES[0] if n is None else n for n in shape], self.compute_dtype)

        inputs = jax.tree.map(ones, input_shape, is_leaf=is_shape)
        given = {"rng": self._next_key(), "inputs": inputs, "training": True}
        made = self.init_fn(**{name: given[name] for name in self._init_takes})  # type: ignore
        return made if "state" in self._takes else (made, None)

    def _next_key(self) -> Any:
        return jax.random.wrap_key_data(draw_seed(self.seed_generator), impl="threefry2x32")

    def _variables(self, kind: str, values: Any, trainable: bool) -> Any:
        """A weight for each array of the structure, named by its place."""

        def make(path: Any, value: Any) -> Any:
            value = jnp.asarray(value)
            name = "_".join([kind, *(str(getattr(p, "key", getattr(p, "idx", p))) for p in path)])
            return self.add_weight(
                value.shape,
                lambda shape, dtype=None: value,
                value.dtype,
                trainable=trainable,
                name=name.replace("/", "_"),
            )

        return jax.tree_util.tree_map_with_path(make, values)

    def call(self, inputs: Any, training: bool = False) -> Any:
        values = {
            "params": jax.tree.map(lambda v: v.value, self.params),
            "state": jax.tree.map(lambda v: v.value, self.state),
            "inputs": inputs,
            "training": training,
        }
        if "rng" in self._takes:
            values["rng"] = self._next_key()
        outputs = self.call_fn(**{name: values[name] for name in self._takes})
        if "state" not in self._takes:
            return outputs
        outputs, new = outputs
        jax.tree.map(lambda variable, value: variable.assign(value), self.state, new)
        return outputs


__all__ = ["JaxLayer"]
