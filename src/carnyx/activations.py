"""Activations: functions applied to each element, or (softmax and its kin) along an axis.

Each takes an array, a Variable or a KerasTensor (then a node of the graph is recorded) and gives
the same shape. Names that `get` understands stand in one table at the end; the layers of the same
names are in `layers/activation.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core import config as _config
from carnyx.core.symbol import Function, KerasTensor, symbolic_call
from carnyx.ops import nn
from carnyx.ops.table import written

_TABLE: dict[str, Callable[..., Any]] = {}
_OPERATIONS = {
    name: written(name, row, jax.nn) for rows in nn.TABLES.values() for name, row in rows.items()
}


def _activation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Puts a function of arrays into the table, and lets it take what programs pass."""

    @functools.wraps(function)
    def checked(x: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(x, KerasTensor):
            return symbolic_call(Function(function.__name__, function), (x, *args), kwargs)
        return function(jnp.asarray(x), *args, **kwargs)

    _TABLE[function.__name__] = checked
    return checked


def _elementwise(name: str, given: str, result: str, more: str = "") -> Callable[[Any], Any]:
    """A function of x that is an operation of `ops/nn.py`; its formula stands there."""
    compute, formula = _OPERATIONS[name]

    def function(x: Any) -> Any:
        return compute(x)

    function.__name__ = function.__qualname__ = name
    call = f"{name}({given})"
    shown = f"{call}.tolist()" if "[" in given else f"round(float({call}), 4)"
    function.__doc__ = f"{formula} {more}\n\n>>> {shown}\n{result}\n"
    return _activation(function)


relu6 = _elementwise("relu6", "[-1.0, 2.0, 9.0]", "[0.0, 2.0, 6.0]")
selu = _elementwise(
    "selu", "1.0", "1.0507", "Outputs tend to mean 0 and variance 1 (Klambauer et al. 2017)."
)
silu = _elementwise("silu", "1.0", "0.7311", "Also called swish (Elfwing et al. 2017).")
sigmoid = _elementwise("sigmoid", "0.0", "0.5")
log_sigmoid = _elementwise("log_sigmoid", "0.0", "-0.6931")
hard_sigmoid = _elementwise("hard_sigmoid", "[-9.0, 0.0, 9.0]", "[0.0, 0.5, 1.0]")
hard_silu = _elementwise(
    "hard_silu", "[-9.0, 9.0]", "[-0.0, 9.0]", "Also called hard_swish (Howard et al. 2019)."
)
sparse_sigmoid = _elementwise("sparse_sigmoid", "[-9.0, 0.0, 9.0]", "[0.0, 0.5, 1.0]")
hard_tanh = _elementwise("hard_tanh", "[-9.0, 0.5, 9.0]", "[-1.0, 0.5, 1.0]")
tanh_shrink = _elementwise("tanh_shrink", "1.0", "0.2384")
softplus = _elementwise("softplus", "0.0", "0.6931")
sparse_plus = _elementwise("sparse_plus", "[-2.0, 0.0, 2.0]", "[0.0, 0.25, 2.0]")
softsign = _elementwise("softsign", "1.0", "0.5")
swish, hard_swish = silu, hard_silu


@_activation
def linear(x: Any) -> Any:
    """x itself.

    >>> linear([1.0, -1.0]).tolist()
    [1.0, -1.0]
    """
    return x


@_activation
def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """max(x, 0); with arguments: x from `threshold` up to `max_value`, a slope below.

    f(x) = max_value where x >= max_value, x where threshold < x < max_value, else
    negative_slope (x - threshold).

    >>> relu([-2.0, 3.0]).tolist(), relu([-2.0, 9.0], 0.5, max_value=6).tolist()
    ([0.0, 3.0], [-1.0, 6.0])
    """
    if negative_slope and max_value is None and not threshold:
        return jax.nn.leaky_relu(x, negative_slope)
    positive = jnp.where(x > threshold, x, jnp.zeros_like(x)) if threshold else jax.nn.relu(x)
    if max_value == 6 and not threshold:
        positive = jax.nn.relu6(x)
    elif max_value is not None:
        positive = jnp.clip(positive, 0, max_value)
    return positive - negative_slope * jax.nn.relu(threshold - x) if negative_slope else positive


@_activation
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x where x > 0, else negative_slope x (Maas et al. 2013).

    >>> leaky_relu([-1.0, 2.0], 0.5).tolist()
    [-0.5, 2.0]
    """
    return jax.nn.leaky_relu(x, negative_slope)


@_activation
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha (e^x - 1) (Clevert et al. 2016).

    >>> elu([2.0]).tolist()
    [2.0]
    """
    return jax.nn.elu(x, alpha)


@_activation
def celu(x: Any, alpha: float = 1.0) -> Any:
    """max(x, 0) + min(0, alpha (e^(x / alpha) - 1)) (Barron 2017).

    >>> celu([2.0]).tolist()
    [2.0]
    """
    return jax.nn.celu(x, alpha)


@_activation
def gelu(x: Any, approximate: bool = False) -> Any:
    """x P(Z <= x) for a standard normal Z; approximately by tanh (Hendrycks and Gimpel 2016).

    >>> round(float(gelu(1.0)), 4), round(float(gelu(1.0, approximate=True)), 4)
    (0.8413, 0.8412)
    """
    return jax.nn.gelu(x, approximate)


@_activation
def mish(x: Any) -> Any:
    """x tanh(softplus(x)) (Misra 2019).

    >>> round(float(mish(1.0)), 4)
    0.8651
    """
    return x * jnp.tanh(jax.nn.softplus(x))


@_activation
def glu(x: Any, axis: int = -1) -> Any:
    """a sigmoid(b) for the two halves of x along an axis (Dauphin et al. 2017).

    >>> glu([4.0, 0.0]).tolist()
    [2.0]
    """
    return jax.nn.glu(x, axis)


@_activation
def tanh(x: Any) -> Any:
    """(e^x - e^-x) / (e^x + e^-x).

    >>> float(tanh(0.0))
    0.0
    """
    return jnp.tanh(x)


@_activation
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x where |x| > threshold, else 0.

    >>> hard_shrink([-1.0, 0.2, 1.0]).tolist()
    [-1.0, 0.0, 1.0]
    """
    return nn.hard_shrink(x, threshold)


@_activation
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by `threshold`, and no further than 0.

    >>> soft_shrink([-1.0, 0.2, 1.0]).tolist()
    [-0.5, 0.0, 0.5]
    """
    return nn.soft_shrink(x, threshold)


@_activation
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where x > threshold, else `default_value`.

    >>> threshold([1.0, 3.0], 2.0, -1.0).tolist()
    [-1.0, 3.0]
    """
    return nn.threshold(x, threshold, default_value)


@_activation
def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x^2 + b)) / 2 (Barron 2021).

    >>> float(squareplus(0.0))
    1.0
    """
    return jax.nn.squareplus(x, b)


@_activation
def exponential(x: Any) -> Any:
    """e^x.

    >>> float(exponential(0.0))
    1.0
    """
    return jnp.exp(x)


@_activation
def softmax(x: Any, axis: int | tuple[int, ...] = -1) -> Any:
    """e^x / sum(e^x) along an axis (or axes): probabilities.

    >>> softmax([1.0, 1.0]).tolist()
    [0.5, 0.5]
    """
    return jax.nn.softmax(x, axis)


@_activation
def log_softmax(x: Any, axis: int | tuple[int, ...] = -1) -> Any:
    """x - ln(sum(e^x)) along an axis (or axes).

    >>> round(float(log_softmax([1.0, 1.0])[0]), 4)
    -0.6931
    """
    return jax.nn.log_softmax(x, axis)


@_activation
def sparsemax(x: Any, axis: int = -1) -> Any:
    """The point of the probability simplex nearest to x: max(x - t, 0) with a sum of 1.

    See `ops.sparsemax` for the formula and the paper.

    >>> sparsemax([2.0, 0.0]).tolist(), sparsemax([0.5, 0.5]).tolist()
    ([1.0, 0.0], [0.5, 0.5])
    """
    return nn.sparsemax(x, axis)


# Every name by which a program or a file may ask for an activation.
TABLE: dict[str, Callable[..., Any]] = {**_TABLE, "swish": swish, "hard_swish": hard_swish}

__all__ = [*TABLE, "deserialize", "get", "serialize"]  # noqa: PLE0604  # made from the table


def get(identifier: Any) -> Any:
    """The activation for a name, a config, a callable or None (linear).

    >>> get("relu") is relu, get(None) is linear
    (True, True)
    """
    if identifier is None:
        return linear
    if isinstance(identifier, dict) and identifier.get("class_name") == "function":
        registered = _config.get_registered_object(str(identifier.get("registered_name")))
        return registered or get(identifier["config"])
    found = _config.resolve(identifier, TABLE, "activation")
    if not callable(found):
        raise TypeError(f"An activation is a function of an array. Received: {identifier!r}")
    return found


def serialize(activation: Any) -> Any:
    """The name of one of ours; a dictionary for a registered function or an object.

    >>> serialize(relu)
    'relu'
    """
    return _config.serialize(activation)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The activation that `serialize` described.

    >>> deserialize("tanh") is tanh
    True
    """
    with _config.CustomObjectScope(custom_objects or {}):
        return get(config)
