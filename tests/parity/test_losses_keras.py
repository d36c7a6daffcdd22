"""Losses against Keras on JAX: values to 1e-6, gradients to 1e-5."""

import functools

import jax
import keras
import numpy as np
import pytest

from carnyx import losses
from tests.cases.losses import CASES, Case, data

by_id = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)


def arrays_of(case: Case):
    """Targets, predictions and sample weights."""
    y, f = data(case.data, seed=3)
    kept = y.shape[:-1] if "labels" not in case.data or case.data == "column_labels" else y.shape
    if case.kwargs.get("axis") == 0:
        kept = f.shape[1:]
    return y, f, np.random.default_rng(4).uniform(0, 2, kept).astype("float32")


@functools.cache
def values_and_gradients():
    """Those of every case, ours and Keras's, from one compiled call: to compile each takes long."""
    inputs = [arrays_of(case) for case in CASES]

    def run(inputs):
        return [
            [
                jax.value_and_grad(getattr(module.losses, case.cls)(**case.kwargs), argnums=1)(*a)
                for module in (_ours, keras)
            ]
            for case, a in zip(CASES, inputs, strict=True)
        ]

    found = jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})(inputs)
    return {case.id: pair for case, pair in zip(CASES, found, strict=True)}


@by_id
def test_value_and_gradient(case: Case):
    (value, gradient), (expected, slope) = values_and_gradients()[case.id]
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-5)


@by_id
def test_unreduced_function(case: Case):
    y, f = data(case.data, seed=5)
    ours = getattr(losses, case.function)(y, f, **case.kwargs)
    theirs = getattr(keras.losses, case.function)(
        keras.ops.array(y), keras.ops.array(f), **case.kwargs
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@by_id
def test_configs_go_both_ways(case: Case):
    ours = getattr(losses, case.cls)(name="mine", **case.kwargs)
    theirs = getattr(keras.losses, case.cls)(name="mine", **case.kwargs)
    assert losses.deserialize(keras.losses.serialize(theirs)).name == "mine"
    if case.cls != "CategoricalGeneralizedCrossEntropy":  # Keras cannot read its own config of it
        back = keras.losses.deserialize(losses.serialize(ours))
        assert back.name == "mine" and type(back).__name__ == case.cls
    keras_config = theirs.get_config()
    assert {k: ours.get_config()[k] for k in keras_config} == keras_config


@pytest.mark.parametrize("cls", sorted({c.cls for c in CASES}))
def test_names_and_defaults(cls):
    assert getattr(losses, cls)().name == getattr(keras.losses, cls)().name


REDUCTIONS = ["sum", "sum_over_batch_size", "mean", "mean_with_sample_weight", "none", None]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [None, (4, 3), (4, 1), (4, 3, 1)])
def test_reductions(reduction, masked, shape):
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=(2, 4, 3, 2)).astype("float32")
    weights = None if shape is None else rng.uniform(0, 2, shape).astype("float32")
    results = []
    for module in (_ours, keras):
        y_pred = jax.numpy.array(f)
        if masked:
            y_pred._keras_mask = jax.numpy.array(rng_mask())
        results.append(module.losses.MeanSquaredError(reduction=reduction)(y, y_pred, weights))
    assert results[0].shape == results[1].shape
    np.testing.assert_allclose(*results, rtol=1e-6, atol=1e-6)


def rng_mask():
    return np.random.default_rng(1).integers(0, 2, (4, 3)).astype(bool)


class _ours:  # so that both are `module.losses`
    losses = losses
