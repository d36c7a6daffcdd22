"""Constructors that are read by their signatures, and what that must not change: the options of a
recurrent layer's cell, and derivatives of batch statistics, which have a rule of their own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from carnyx import layers, regularizers
from carnyx.layers import arguments
from carnyx.layers.arguments import DataFormat, Fraction, FromZero, Several, Whole, Window
from carnyx.ops import nn


class Sample(layers.Layer):
    rank = 2

    def __init__(
        self,
        count: Whole,
        rate: Fraction = 0.5,
        least: FromZero | None = None,
        window: Window = 1,
        data_format: DataFormat = None,
        shape: Several | None = None,
        flat: bool = False,
        kernel_regularizer: Any = None,
        out_activation: Any = None,
        note: Any = "as it is",
        activity_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        arguments.keep_given(self, locals())


def test_arguments_are_kept_as_their_types_say() -> None:
    layer: Any = Sample(np.int64(3), window=(2, 3), shape=4, kernel_regularizer="l2", flat=1)
    assert (layer.count, layer.rate, layer.least, layer.window) == (3, 0.5, None, (2, 3))
    assert (layer.data_format, layer.shape, layer.flat, layer.note) == (
        "channels_last",
        (4,),
        True,
        "as it is",
    )
    assert isinstance(layer.kernel_regularizer, regularizers.L2)
    assert layer.out_activation(3.0) == 3.0 and layer.activity_regularizer is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"count": 0}, "Sample 'x': count must be a whole number from 1. Received: count=0"),
        ({"rate": 1.5}, r"rate must be a number in \[0, 1\]"),
        ({"rate": None}, "rate must be"),
        ({"least": -1}, "least must be a number from 0"),
        ({"window": (1, 2, 3)}, "window must be a whole number from 1 or a tuple of 2"),
        ({"data_format": "last"}, "data_format must be one of"),
        ({"flat": "no"}, "flat must be True or False"),
        ({"flat": 2}, "flat must be True or False"),
        ({"kernel_regularizer": "l9"}, "l9"),
    ],
)
def test_wrong_arguments_are_explained(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Sample(**{"count": 1, "name": "x", **given})


def test_a_recurrent_layer_shows_the_options_of_its_cell() -> None:
    layer = layers.LSTM(3, dropout=0.25, name="x")
    assert (layer.units, layer.dropout, layer.use_bias) == (3, 0.25, True)
    assert not hasattr(layer, "kernel") and not hasattr(layer, "no_such_thing")
    with pytest.raises(AttributeError, match="'LSTM' object has no attribute 'unit'"):
        layer.unit  # noqa: B018
    with pytest.raises(ValueError, match="no argument 'unit'"):
        layers.LSTM(3, unit=3)


def plain_moments(x: Any) -> tuple[Any, Any]:
    mean = jnp.mean(x, 0)
    return mean, jnp.mean(jnp.square(x - mean), 0)


@pytest.mark.parametrize("derive", [jax.jacrev, jax.jacfwd, jax.hessian])
def test_derivatives_of_moments_are_those_of_the_formula(derive: Any) -> None:
    """The second ones as well: a gradient that only stopped at the mean would lose -2 / N there."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)), "float32")
    ours, plain = (derive(f)(x) for f in (lambda x: nn.moments(x, [0]), plain_moments))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Steps(layers.RNN):
    """A user's layer that makes its cell: its config has no cell."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(layers.GRUCell(units), **kwargs)
        self.units = units


class Same(layers.RNN):
    """One that is given its cell: its config has it."""


@pytest.mark.parametrize("layer", [Steps(2), Same(layers.GRUCell(2))], ids=["makes", "takes"])
def test_subclasses_of_rnn_come_back_from_their_configs(layer: Any) -> None:
    twin = type(layer).from_config(layer.get_config())
    assert twin.cell.units == 2 and twin.name == layer.name
