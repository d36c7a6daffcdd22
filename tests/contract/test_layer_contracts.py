"""What every layer must satisfy: inferred shapes, tracing, configs, dtypes, masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from carnyx import layers
from carnyx.core.config import deserialize, serialize
from carnyx.core.state import get_mask, pure, set_mask
from carnyx.core.symbol import KerasTensor
from tests.cases import text
from tests.cases.layers import CASES, Case, data, filled, make, mask_of

KERAS_CASES, CASES = CASES, [*CASES, *text.ROWS]
by_id = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
# One row a class; the ranks of one layer are one class, which 2D stands for.
FIRST = {c.cls.replace("1D", "2D").replace("3D", "2D"): c for c in reversed(CASES)}
FIRST |= {c.cls: c for c in CASES if c.cls.endswith("2D")}
first_of_class = pytest.mark.parametrize("case", FIRST.values(), ids=lambda c: c.id)


def symbols(case: Case):
    return jax.tree.map(lambda x: KerasTensor((None, *x.shape[1:]), x.dtype.name), data(case))


def ready(case: Case, **more):
    """The row's layer with weights of known values, its inputs and call arguments."""
    layer = make(case, layers, **more)
    layer(symbols(case))
    layer.set_weights(filled(layer.get_weights()))
    mask = {"mask": mask_of(case)} if case.mask else {}
    return layer, data(case), {"training": case.training, **mask}


def shapes_of(case: Case, unknown: bool):
    """Input shapes, the batch unknown if asked."""

    def hide(shape):
        return (None, *shape[1:]) if unknown else shape

    return [hide(s) for s in case.shapes] if case.many else hide(case.shapes)


def traced(layer, inputs, kwargs):
    """Outputs of a layer and new values of its variables, as a pure function gives them."""
    step = pure(lambda x: layer(x, **kwargs), layer.variables)
    return step, [v.numpy() for v in layer.variables]


@by_id
def test_inferred_shape_is_the_real_one(case: Case):
    layer, inputs, kwargs = ready(case)
    step, values = traced(layer, inputs, kwargs)
    real = jax.eval_shape(step, values, inputs)[0].shape
    fresh = make(case, layers)
    assert fresh.compute_output_shape(shapes_of(case, False)) == real
    assert fresh.compute_output_shape(shapes_of(case, True)) == (None, *real[1:])
    assert make(case, layers)(symbols(case)).shape == (None, *real[1:])


@first_of_class
def test_eager_is_traced(case: Case):
    layer, inputs, kwargs = ready(case)
    step, values = traced(layer, inputs, kwargs)
    out, new = jax.jit(step)(values, inputs)
    np.testing.assert_allclose(layer(inputs, **kwargs), out, rtol=1e-5, atol=1e-6)
    for variable, value in zip(layer.variables, new, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-6)


@by_id
def test_config_round_trip(case: Case):
    layer, _, _ = ready(case)
    config = layer.get_config()
    twin = type(layer).from_config(config)
    assert twin.get_config() == config and twin.name == layer.name
    third = deserialize(serialize(layer))
    assert type(third) is type(layer) and third.get_config() == config
    third(symbols(case))
    third.set_weights(layer.get_weights())
    assert [w.path for w in third.weights] == [w.path for w in layer.weights]


@pytest.mark.parametrize("case", KERAS_CASES, ids=lambda c: c.id)
def test_mixed_types(case: Case):
    layer, inputs, kwargs = ready(case, dtype="mixed_bfloat16")
    step, values = traced(layer, inputs, kwargs)
    assert jax.eval_shape(step, values, inputs)[0].dtype == jnp.bfloat16
    assert all(weight.numpy().dtype == np.float32 for weight in layer.weights)


@pytest.mark.parametrize("cls", ["Dense", "BatchNormalization", "LayerNormalization"])
def test_whole_half_types(cls):
    case = next(c for c in CASES if c.cls == cls)
    layer, inputs, kwargs = ready(case, dtype="bfloat16")
    step, values = traced(layer, inputs, kwargs)
    assert jax.eval_shape(step, values, inputs)[0].dtype == jnp.bfloat16
    kept = {"moving_mean": "float32", "moving_variance": "float32"}
    for weight in layer.weights:
        assert weight.numpy().dtype == kept.get(weight.name, "bfloat16")


SUMS = (
    "Dense Conv2D BatchNormalization LayerNormalization GroupNormalization RMSNormalization "
    "AveragePooling2D GlobalAveragePooling2D"
).split()


@pytest.mark.parametrize("case", [c for c in CASES if c.cls in SUMS][::2], ids=lambda c: c.id)
def test_half_types_keep_their_digits(case: Case):
    exact, inputs, kwargs = ready(case)
    half, _, _ = ready(case, dtype="mixed_bfloat16")
    half.set_weights(exact.get_weights())
    wanted, got = (
        jax.jit(step)(values, inputs)[0].astype("float32")
        for step, values in (traced(layer, inputs, kwargs) for layer in (exact, half))
    )
    # inputs, kernel and result are each rounded to 8 bits, a relative 2^-9 at most
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(got, wanted, rtol=3 * 2**-8, atol=3 * 2**-8 * scale)


PASS_MASKS = (
    "Dense Activation ReLU LeakyReLU PReLU ELU Softmax Identity BatchNormalization "
    "LayerNormalization GroupNormalization UnitNormalization Dropout SpatialDropout1D "
    "SpatialDropout2D GaussianNoise GaussianDropout AlphaDropout ActivityRegularization "
    "TimeDistributed Rescaling Normalization"
).split()


SINGLE = [c for c in FIRST.values() if not c.many and c.shapes[:2] == (2, 5)]


@pytest.mark.parametrize("case", SINGLE, ids=lambda c: c.id)
def test_masks_pass_through_or_end_with_a_warning(case: Case):
    layer, inputs, _ = ready(case)
    mask = np.arange(5) < np.array([[5], [3]])
    if case.cls == "Softmax":
        mask = np.broadcast_to(mask[..., None], inputs.shape)
    x = jnp.asarray(inputs)
    set_mask(x, mask)
    if case.cls in PASS_MASKS:
        np.testing.assert_array_equal(get_mask(layer(x)), mask)
    elif case.cls not in ("Masking", "GlobalAveragePooling1D"):
        with pytest.warns(UserWarning, match="does not support masking"):
            assert get_mask(layer(x)) is None
