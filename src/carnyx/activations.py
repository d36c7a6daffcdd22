"""Activations: functions applied to each element, or (softmax and its kin) along an axis.

Each takes an array, a Variable or a KerasTensor (then a node of the graph is recorded) and gives
the same shape. Names that `get` understands stand in one table at the end; the layers of the same
names are in `layers/activation.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from carnyx.core import config as _config
from carnyx.core.symbol import Function, KerasTensor, symbolic_call
from carnyx.ops import nn
from carnyx.ops.table import written

_TABLE: dict[str, Callable[..., Any]] = {}
# Name -> its arguments, the function of arrays, and the formula.
_OPERATIONS = {
    name: (arguments, *written(name, row, jax.nn))
    for arguments, rows in nn.TABLES.items()
    for name, row in rows.items()
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


def _operation(name: str, given: str, result: str, more: str = "") -> Callable[..., Any]:
    """An operation of x, and perhaps an option, of `ops/nn.py`; its formula stands there."""
    arguments, compute, formula = _OPERATIONS[name]
    template = eval(f"lambda {arguments}: None")  # of our own tables only
    option = {p.name: p.default for p in [*inspect.signature(template).parameters.values()][1:]}

    @functools.wraps(template)
    def function(x: Any, *args: Any, **kwargs: Any) -> Any:
        return compute(x, *args, **(kwargs if args else option | kwargs))

    function.__name__ = function.__qualname__ = name
    call = f"{name}({given})"
    shown = f"{call}.tolist()" if "[" in given else f"round(float({call}), 4)"
    function.__doc__ = f"{formula} {more}".rstrip() + f"\n\n>>> {shown}\n{result}\n"
    return _activation(function)


relu6 = _operation("relu6", "[-1.0, 2.0, 9.0]", "[0.0, 2.0, 6.0]")
selu = _operation(
    "selu", "1.0", "1.0507", "Outputs tend to mean 0 and variance 1 (Klambauer et al. 2017)."
)
silu = _operation("silu", "1.0", "0.7311", "Also called swish (Elfwing et al. 2017).")
sigmoid = _operation("sigmoid", "0.0", "0.5")
log_sigmoid = _operation("log_sigmoid", "0.0", "-0.6931")
hard_sigmoid = _operation("hard_sigmoid", "[-9.0, 0.0, 9.0]", "[0.0, 0.5, 1.0]")
hard_silu = _operation(
    "hard_silu", "[-9.0, 9.0]", "[-0.0, 9.0]", "Also called hard_swish (Howard et al. 2019)."
)
sparse_sigmoid = _operation("sparse_sigmoid", "[-9.0, 0.0, 9.0]", "[0.0, 0.5, 1.0]")
hard_tanh = _operation("hard_tanh", "[-9.0, 0.5, 9.0]", "[-1.0, 0.5, 1.0]")
tanh_shrink = _operation("tanh_shrink", "1.0", "0.2384")
softplus = _operation("softplus", "0.0", "0.6931")
sparse_plus = _operation("sparse_plus", "[-2.0, 0.0, 2.0]", "[0.0, 0.25, 2.0]")
softsign = _operation("softsign", "1.0", "0.5")
leaky_relu = _operation("leaky_relu", "[-1.0, 2.0], 0.5", "[-0.5, 2.0]")
elu = _operation("elu", "[2.0, -99.0], 0.5", "[2.0, -0.5]")
celu = _operation("celu", "[2.0, -99.0], 0.5", "[2.0, -0.5]")
squareplus = _operation("squareplus", "0.0", "1.0")
hard_shrink = _operation("hard_shrink", "[-1.0, 0.2, 1.0]", "[-1.0, 0.0, 1.0]")
soft_shrink = _operation("soft_shrink", "[-1.0, 0.2, 1.0]", "[-0.5, 0.0, 0.5]")
glu = _operation("glu", "[4.0, 0.0]", "[2.0]")
softmax = _operation("softmax", "[1.0, 1.0]", "[0.5, 0.5]", "`axis` may be a tuple of axes.")
log_softmax = _operation("log_softmax", "[0.0]", "[0.0]", "`axis` may be a tuple of axes.")
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
def tanh(x: Any) -> Any:
    """(e^x - e^-x) / (e^x + e^-x).

    >>> float(tanh(0.0))
    0.0
    """
    return jnp.tanh(x)


@_activation
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where x > threshold, else `default_value`.

    >>> threshold([1.0, 3.0], 2.0, -1.0).tolist()
    [-1.0, 3.0]
    """
    return nn.threshold(x, threshold, default_value)


@_activation
def exponential(x: Any) -> Any:
    """e^x.

    >>> float(exponential(0.0))
    1.0
    """
    return jnp.exp(x)


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
