"""Functions written for JAX as layers: JaxLayer.

Modules of other frameworks cannot be a part of a Program that every engine runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core.fields import declared
from carnyx.core.layer import Layer, is_shape
from carnyx.core.symbol import PROBES
from carnyx.layers import arguments
from carnyx.random import SeedGenerator, draw_seed

ALLOWED = ("params", "state", "rng", "inputs", "training")


@declared
class JaxLayer(arguments.Declared, Layer):
    """A function of JAX (of Flax, Haiku or Equinox, say) as a layer with trainable parameters.

    outputs = call_fn(params, inputs), or with any of `state`, `rng`, `training` as arguments of
    those names; with `state` it returns (outputs, new state). The parameters, any structure of
    arrays, become the layer's weights.

    Args:
        call_fn: the function.
        init_fn: `init_fn(rng, inputs)` (and `training`) gives the params, or (params, state);
            called once, when the layer is built.
        params, state: the values to start with, instead of `init_fn`.
        [shared]
        native_serialization_platforms: of Keras's signature.

    Raises:
        ValueError: neither `params` nor `init_fn`; an argument of `call_fn` of another name.

    >>> import numpy as np
    >>> layer = JaxLayer(lambda params, inputs: inputs @ params["w"], params={"w": np.ones((3, 2))})
    >>> layer(np.ones((1, 3), "float32")).tolist(), [w.path for w in layer.weights]
    ([[3.0, 3.0]], ['jax_layer/params_w'])
    """

    call_fn: Callable[..., Any]
    init_fn: Callable[..., Any] | None = None
    params: Any = None
    state: Any = None
    seed: int | None = None
    native_serialization_platforms: Any = None

    def _set_up(self) -> None:
        self._takes = self._names("call_fn")
        if "inputs" not in self._takes:
            expected = "a function of `inputs` (by that name)"
            raise arguments.refuse(self, "call_fn", self.call_fn, expected)
        self._init_takes = self._names("init_fn") if self.init_fn else ()
        if self.init_fn is None and self.params is None and self.state is None:
            raise arguments.refuse(self, "init_fn", None, "a function, or params must be given")
        drawn = "rng" in self._takes or self.init_fn
        self.seed_generator = SeedGenerator(self.seed) if drawn else None

    def _names(self, argument: str) -> tuple[str, ...]:
        function = getattr(self, argument)
        names = tuple(inspect.signature(function).parameters)
        if wrong := [name for name in names if name not in ALLOWED]:
            expected = f"a function of some of {ALLOWED}; it takes {wrong}"
            raise arguments.refuse(self, argument, function, expected)
        return names

    def build(self, input_shape: Any) -> None:
        params, state = self.params, self.state
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
            more = {"trainable": trainable, "name": name.replace("/", "_")}
            return self.add_weight(value.shape, lambda shape, dtype: value, value.dtype, **more)

        return jax.tree_util.tree_map_with_path(make, values)

    def call(self, inputs: Any, training: bool = False) -> Any:
        now = jax.tree.map(lambda v: v.value, {"params": self.params, "state": self.state})
        values = {**now, "inputs": inputs, "training": training}
        if "rng" in self._takes:
            values["rng"] = self._next_key()
        outputs = self.call_fn(**{name: values[name] for name in self._takes})
        if "state" not in self._takes:
            return outputs
        outputs, new = outputs
        jax.tree.map(lambda variable, value: variable.assign(value), self.state, new)
        return outputs


__all__ = ["JaxLayer"]
