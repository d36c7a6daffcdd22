"""Initializers: Keras's numbers for the same seed, their moments, configs and names."""

import functools

import jax
import keras
import numpy as np
import pytest

import carnyx
from carnyx import initializers

SHAPES = ((3, 3, 4, 8), (40, 30))
SEEDED: tuple = (
    ("RandomNormal", {}),
    ("RandomNormal", {"mean": 1.0, "stddev": 2.0}),
    ("RandomUniform", {"minval": -1.0, "maxval": 3.0}),
    ("TruncatedNormal", {"mean": -1.0, "stddev": 0.5}),
    ("VarianceScaling", {}),
    ("VarianceScaling", {"scale": 2.0, "mode": "fan_avg", "distribution": "untruncated_normal"}),
    ("VarianceScaling", {"mode": "fan_out", "distribution": "normal"}),
    ("VarianceScaling", {"distribution": "uniform", "input_axes": [0], "output_axes": [1]}),
    ("GlorotNormal", {}),
    ("GlorotUniform", {}),
    ("LecunNormal", {}),
    ("LecunUniform", {}),
    ("HeNormal", {}),
    ("HeUniform", {}),
    ("Orthogonal", {}),
    ("Orthogonal", {"gain": 2.0}),
)
PLAIN = (("Zeros", {}), ("Ones", {}), ("Constant", {"value": 3.5}), ("Identity", {"gain": 2.0}))
by_row = pytest.mark.parametrize(
    ("name", "kwargs"), SEEDED, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v))
)


@by_row
def test_same_numbers_as_keras(name: str, kwargs: dict):
    for shape in SHAPES[: 1 if name == "Orthogonal" else 2]:
        ours, theirs = (
            getattr(m.initializers, name)(seed=42, **kwargs)(shape) for m in (carnyx, keras)
        )
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        # last bits of logarithms; for Orthogonal, QR in float64 against float32
        atol = 5e-6 if name == "Orthogonal" else 1e-6
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=atol)


@by_row
def test_moments(name: str, kwargs: dict):
    if name == "Orthogonal" or "input_axes" in kwargs:
        return
    shape = (300, 200)
    x = np.asarray(getattr(initializers, name)(seed=1, **kwargs)(shape), "float64")
    scale, fans = {"He": (2, 300), "Le": (1, 300), "Gl": (1, 250)}.get(name[:2], (None, None))
    if name == "VarianceScaling":
        scale = kwargs.get("scale", 1)
        fans = {"fan_avg": 250, "fan_out": 200}.get(kwargs.get("mode", ""), 300)
    mean = kwargs.get("mean", 1.0 if name == "RandomUniform" else 0.0)
    if name == "RandomUniform":
        deviation = 4 / np.sqrt(12)
    elif scale is None:
        deviation = kwargs.get("stddev", 0.05) * (0.8796 if name == "TruncatedNormal" else 1)
    else:
        deviation = np.sqrt(scale / fans)
    # 60,000 numbers: a mean is known to 1/245 of the deviation, a deviation to 1/350
    assert abs(x.mean() - mean) < 4 * deviation / 245
    assert x.std() == pytest.approx(deviation, rel=4 / 350)


@pytest.mark.parametrize(("name", "kwargs"), PLAIN, ids=[name for name, _ in PLAIN])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
def test_plain_values(name: str, kwargs: dict, dtype: str):
    ours, theirs = (
        getattr(m.initializers, name)(**kwargs)((3, 4), dtype=dtype) for m in (carnyx, keras)
    )
    assert ours.dtype == dtype
    np.testing.assert_array_equal(np.asarray(ours, "float32"), np.asarray(theirs, "float32"))


def test_orthogonal_is_orthogonal_also_for_kernels_and_half_types():
    for shape in ((6, 4), (4, 6), (3, 3, 2, 5), (2, 20)):
        q = np.asarray(initializers.Orthogonal(seed=3)(shape)).reshape(-1, shape[-1])
        small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
        np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-6)
    numbers = np.random.default_rng(0).normal(size=(90, 90)).astype("float32")
    numbers[:, 1] = numbers[:, 0] + 1e-4 * numbers[:, 1]  # condition 1e6
    q, r = np.linalg.qr(numbers.astype("float64"))
    expected = q * np.sign(np.diagonal(r))
    np.testing.assert_allclose(initializers._host_orthonormal(numbers), expected, atol=1e-8)
    assert initializers.Orthogonal(seed=3)((4, 4), dtype="bfloat16").dtype == "bfloat16"
    with pytest.raises(ValueError, match="two axes"):
        initializers.Orthogonal()((4,))


@by_row
def test_half_types_take_the_compiled_way(name: str, kwargs: dict):
    if name == "Orthogonal":
        return
    ours, theirs = (
        getattr(m.initializers, name)(seed=1, **kwargs)((8, 4), dtype="bfloat16")
        for m in (carnyx, keras)
    )
    np.testing.assert_array_equal(np.asarray(ours, "float32"), np.asarray(theirs, "float32"))


@pytest.mark.parametrize(("name", "kwargs"), [*SEEDED, *PLAIN])
def test_config_round_trip_and_schema(name: str, kwargs: dict):
    seed = {"seed": 5} if (name, kwargs) in SEEDED else {}
    made = getattr(initializers, name)(**kwargs, **seed)
    theirs = getattr(keras.initializers, name)(**kwargs, **seed)
    if name != "Identity":  # Keras forgets its gain
        assert made.get_config() == theirs.get_config()
    for twin in (
        initializers.deserialize(initializers.serialize(made)),
        initializers.get({"class_name": name, "config": made.get_config()}),
        keras.initializers.deserialize(initializers.serialize(made)),
        made.clone(),
    ):
        np.testing.assert_allclose(twin((4, 4)), made((4, 4)), rtol=1e-6, atol=5e-6)


def test_without_a_seed_each_object_draws_its_own():
    shape = (4, 4)
    one = initializers.get("glorot_uniform")
    np.testing.assert_array_equal(one(shape), one(shape))
    assert not np.array_equal(one(shape), initializers.get("glorot_uniform")(shape))
    assert not np.array_equal(one(shape), one.clone()(shape))
    assert one.get_config()["seed"] is None
    generator = initializers.GlorotUniform(seed=carnyx.random.SeedGenerator(1))
    assert not np.array_equal(generator(shape), generator(shape))


def test_set_random_seed_gives_keras_s_weights():
    drawn = []
    for module in (carnyx, keras):
        module.utils.set_random_seed(8)
        names = ("glorot_uniform", "random_uniform")
        draws = [functools.partial(module.initializers.get(name), (5, 3)) for name in names]
        if module is keras:  # as users compile it, also under --quick-compile
            level = {"xla_backend_optimization_level": 3}
            draws = [jax.jit(draw, compiler_options=level) for draw in draws]
        drawn.append([np.asarray(draw()) for draw in draws])
    np.testing.assert_array_equal(*drawn)


def test_scalars_stay_scalars():
    for name in ("zeros", "ones", "constant", "random_normal", "glorot_uniform"):
        assert initializers.get(name)(()).shape == ()
        assert initializers.get(name)((0, 3)).shape == (0, 3)


def test_names():
    for name in initializers.TABLE:
        assert type(initializers.get(name)) is initializers.TABLE[name]
        assert getattr(initializers, name) is initializers.TABLE[name]
    assert initializers.get(None) is None
    assert initializers.get(initializers.Ones).__class__ is initializers.Ones
    given = initializers.get(np.arange(3))
    assert given((3,), dtype="float32").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="array of shape"):
        given((4,))
    with pytest.raises(ValueError, match="(?i)did you mean 'glorot_uniform'"):
        initializers.get("glorot_unifrm")


def test_fans():
    fans = initializers.compute_fans
    assert fans(()) == (1, 1)
    assert fans((5, 4, 3, 2)) == (60, 40)
    assert fans((4, 3, 2), input_axes=[0], output_axes=[1, 2]) == (4, 6)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("VarianceScaling", {"scale": 0.0}, "`scale` is above 0"),
        ("VarianceScaling", {"mode": "fan"}, "`mode` is one of"),
        ("VarianceScaling", {"distribution": "gamma"}, "`distribution` is one of"),
        ("RandomNormal", {"seed": "a"}, "`seed` is an int"),
    ],
)
def test_bad_arguments(name: str, kwargs: dict, message: str):
    with pytest.raises(ValueError, match=message):
        getattr(initializers, name)(**kwargs)


def test_identity_needs_a_matrix():
    with pytest.raises(ValueError, match="not rank 2"):
        initializers.Identity()((3,))
