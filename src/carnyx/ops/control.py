"""Control over how code is compiled and run, with the state of layers lifted out.

`remat` is the first; loops and branches that carry state belong here too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax

from carnyx.core import state


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, whose inner values are computed again for the gradient instead of being kept.

    Memory for the gradient becomes that of the inputs; time grows by one forward pass. `f` may call
    layers: what they assign and add is as if they were called plainly.

    Chen et al. (2016), "Training deep nets with sublinear memory cost".

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(remat(lambda x: jnp.sin(jnp.sin(x))))(0.0))
    1.0
    """

    @wraps(f)
    def again(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs))
        arrays = {i: leaf for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")}

        def call(arrays: dict[int, Any]) -> Any:
            filled = [arrays.get(i, leaf) for i, leaf in enumerate(leaves)]
            positional, named = jax.tree.unflatten(tree, filled)
            return f(*positional, **named)

        return state.lifted(call, lambda inner: jax.checkpoint(partial(inner, {}))(arrays))

    return again


__all__ = ["remat"]
