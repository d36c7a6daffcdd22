"""Layers against Keras on JAX: configs, weights, outputs and gradients."""

import inspect

import jax
import keras
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.core.state import pure
from carnyx.ops import core, math, nn, numpy
from tests.cases.layers import CASES, Case, data, filled, make, mask_of

by_id = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)

# What Keras's configs and signatures hold that Carnyx does not have.
ABSENT = {"quantization_config", "gptq_unpacked_column_size"}
OFF = {"rms_scaling"}
QUICK = {"xla_backend_optimization_level": 0}  # halves the compile time, which is the test's


def trim(config):
    """A config without what Carnyx does not have, inside too."""
    if isinstance(config, dict):
        return {k: trim(v) for k, v in config.items() if k not in ABSENT | OFF}
    return config


@by_id
def test_config_is_keras_own(case: Case):
    ours, theirs = make(case, layers), make(case, keras.layers)
    assert ours.get_config() == trim(theirs.get_config())
    assert ours.name == theirs.name and ours.supports_masking == theirs.supports_masking
    twin = type(ours).from_config(theirs.get_config())
    assert twin.get_config() == ours.get_config()
    back = keras.layers.deserialize(carnyx.core.config.serialize(ours))
    assert back.get_config() == theirs.get_config()


def ready(case: Case, library, tensor):
    """The row's layer, built without computing anything: Keras compiles for a random kernel."""
    names = inspect.signature(getattr(library, case.cls)).parameters
    zeros = {"kernel_initializer": "zeros"} if "kernel_initializer" in names else {}
    layer, inputs = make(case, library, **zeros), data(case)
    layer(jax.tree.map(lambda x: tensor(x.shape, x.dtype.name), inputs))
    return layer


def run_ours(layer, trained, rest, x, kwargs):
    ordered = [*layer.trainable_variables, *layer.non_trainable_variables]
    out, new = pure(lambda x: layer(x, **kwargs), ordered)([*trained, *rest], x)
    return out, new[len(trained) :]


def run_keras(layer, trained, rest, x, kwargs):
    return layer.stateless_call(trained, rest, x, **kwargs)


def gradient_of(layer, run, case, x):
    """A function of nothing that gives outputs, gradients and the new moving statistics."""
    kwargs = {"mask": mask_of(case)} if case.mask else {}
    if "training" in inspect.signature(layer.call).parameters:
        kwargs["training"] = case.training  # layers of images are in training unless told otherwise
    rest = [np.asarray(v.value) for v in layer.non_trainable_variables]
    cotangent = np.random.default_rng(2).normal(size=100_000).astype("float32")

    def scalar(trained, x):
        out, new = run(layer, trained, rest, x, kwargs)
        moving = [v for v in new if v.dtype == np.float32]
        return (out.ravel() * cotangent[: out.size]).sum(), (out, moving)

    where = 0 if case.data == "ids" else (0, 1)
    trained = [np.asarray(v.value) for v in layer.trainable_variables]
    gradients, (out, moving) = jax.grad(scalar, where, has_aux=True)(trained, x)
    return out, jax.tree.leaves(gradients), moving


@by_id
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # by Keras's MixUp
def test_outputs_and_gradients(case: Case):
    ours = ready(case, layers, carnyx.KerasTensor)
    theirs = ready(case, keras.layers, keras.KerasTensor)
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    weights = filled(ours.get_weights())
    ours.set_weights(weights)
    theirs.set_weights(weights)

    def both(x):  # in one program, as compiling is what takes the time
        return gradient_of(ours, run_ours, case, x), gradient_of(theirs, run_keras, case, x)

    got, wanted = jax.jit(both, compiler_options=QUICK)(data(case))
    (y, gradients, moving), (expected, slopes, keras_moving) = got, wanted
    assert y.shape == expected.shape and y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(gradients, slopes, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)
    for a, b in zip(moving, keras_moving, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def plain(value, rank):
    """A default with (n, n) written as n."""
    if isinstance(value, tuple) and len(set(map(str, value))) == 1 and len(value) == rank:
        return plain(value[0], 2) if isinstance(value[0], tuple) else value[0]
    return value


@pytest.mark.parametrize("cls", sorted({c.cls for c in CASES} | {"Lambda", "Wrapper"}))
def test_signatures(cls):
    rank = next((int(d) for d in "123" if f"{d}D" in cls), 0)
    ours, theirs = (
        {
            p.name: plain(p.default, rank)
            for p in inspect.signature(getattr(library, cls)).parameters.values()
            if p.name not in ABSENT
        }
        for library in (layers, keras.layers)
    )
    assert ours == theirs
    if cls != "Conv3DTranspose":  # Keras has two arguments there the other way round
        assert list(ours) == list(theirs)
    assert getattr(layers, cls).__doc__


OPERATIONS = sorted(n for home in (core, math, nn, numpy) for n in home.__all__)


def test_signatures_of_operations():
    def described(library, name):
        parameters = inspect.signature(getattr(library.ops, name)).parameters.values()
        return [(p.name, p.default, p.kind) for p in parameters]

    assert len(OPERATIONS) > 150
    ours, theirs = (
        {name: described(library, name) for name in OPERATIONS} for library in (carnyx, keras)
    )
    assert ours == theirs


def test_masks_of_merging_layers():
    rng = np.random.default_rng(0)
    masks = [np.array([[1, 1, 0], [1, 0, 0]], bool), np.array([[1, 0, 1], [0, 0, 0]], bool), None]
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    for cls, kwargs in (("Add", {}), ("Concatenate", {"axis": 1}), ("Concatenate", {})):
        for first in masks:
            for second in masks:
                ours = getattr(layers, cls)(**kwargs).compute_mask([x, x], [first, second])
                theirs = getattr(keras.layers, cls)(**kwargs).compute_mask([x, x], [first, second])
                assert (ours is None) == (theirs is None)
                if ours is not None:
                    np.testing.assert_array_equal(ours, theirs)
