"""Losses against their formulas in NumPy; weights, configs, and the errors for bad targets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import losses
from carnyx.core.state import pure, set_mask
from tests.cases.losses import CASES, Case, data

by_id = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
TIGHT = {"rtol": 2e-6, "atol": 1e-6}  # float32 against float64


@by_id
def test_formula(case: Case):
    y, f = data(case.data)
    expected = case.oracle(
        y.astype(int) if "labels" in case.data else y.astype(float), f.astype(float)
    )
    values = getattr(losses, case.function)(y, f, **case.kwargs)
    np.testing.assert_allclose(values, expected, **TIGHT)
    loss = getattr(losses, case.cls)(**case.kwargs)
    if "ignore_class" in case.kwargs:
        expected = expected[y != case.kwargs["ignore_class"]]
    np.testing.assert_allclose(loss(y, f), expected.mean(), **TIGHT)


@by_id
def test_gradient_is_the_finite_difference(case: Case):
    y, f = data(case.data)
    loss = getattr(losses, case.cls)(reduction="sum", **case.kwargs)
    direction = np.random.default_rng(1).normal(size=f.shape)
    slope = float((np.asarray(jax.grad(loss, argnums=1)(y, f)) * direction).sum())
    step = 1e-6
    y, f = y.astype(int) if "labels" in case.data else y.astype(float), f.astype(float)
    high, low = (case.oracle(y, f + s * direction).sum() for s in (step, -step))
    assert slope == pytest.approx((high - low) / (2 * step), rel=1e-4, abs=1e-4)


@by_id
def test_config_round_trip_and_jit(case: Case):
    y, f = data(case.data)
    loss = getattr(losses, case.cls)(name="mine", reduction="sum", **case.kwargs)
    config = losses.serialize(loss)
    twin = losses.deserialize(config)
    assert type(twin) is type(loss) and losses.serialize(twin) == config
    assert config["module"] == "keras.losses" and config["class_name"] == case.cls
    assert all(config["config"][k] == v for k, v in case.kwargs.items())
    out, _ = jax.jit(lambda y, f: pure(twin, [])([], y, f))(y, f)
    np.testing.assert_allclose(out, loss(y, f), rtol=1e-6)


def test_config_of_a_wrapped_function():
    loss = losses.LossFunctionWrapper(losses.huber, name="h", delta=2.0)
    twin = losses.deserialize(losses.serialize(loss))
    assert twin.fn is losses.huber and twin.get_config() == loss.get_config()
    keras_form = {"class_name": "function", "config": "huber", "module": "builtins"}
    assert losses.get(keras_form) is losses.huber
    assert losses.Huber.from_config({"name": "x", "reduction": "sum"}).delta == 1.0


@pytest.mark.parametrize("name", losses.FUNCTIONS)
def test_names_of_functions(name):
    assert losses.get(name) is getattr(losses, name)
    assert losses.as_loss(name).name == name


def test_get():
    assert losses.get(None) is None
    assert isinstance(losses.get("Huber"), losses.Huber)
    assert isinstance(losses.get(losses.Hinge), losses.Hinge)
    assert isinstance(losses.get(carnyx.losses.Poisson()), losses.Poisson)
    with pytest.raises(ValueError, match="Unknown loss.*Did you mean 'mean_squared_error'"):
        losses.get("mean_square_error")


# --- weights, masks, reductions: squared errors of these are 1 4 9 / 16 25 36
ZEROS = np.zeros((2, 3, 1), "float32")
STEPS = np.arange(1.0, 7.0, dtype="float32").reshape(2, 3, 1)
SQUARES = np.array([[1.0, 4.0, 9.0], [16.0, 25.0, 36.0]])


@pytest.mark.parametrize(
    ("reduction", "weights", "expected"),
    [
        ("sum", None, 91.0),
        ("sum_over_batch_size", None, 91 / 6),
        ("mean", None, 91 / 6),
        ("mean_with_sample_weight", None, 91 / 6),
        ("none", None, SQUARES),
        (None, [[2.0], [1.0]], SQUARES * [[2.0], [1.0]]),
        ("sum", [[2.0], [1.0]], 105.0),
        ("sum", [2.0, 1.0], 105.0),
        ("sum", [[1, 0, 0], [0, 0, 1]], 37.0),
        ("sum_over_batch_size", [[1, 0, 0], [0, 0, 1]], 37 / 6),
        ("mean_with_sample_weight", [[1, 0, 0], [0, 0, 1]], 37 / 2),
        ("mean_with_sample_weight", [[0, 0, 0], [0, 0, 0]], 0.0),
        ("sum", 2.0, 182.0),
        ("sum", np.ones((2, 3, 1)), 91.0),
    ],
)
def test_weights_and_reductions(reduction, weights, expected):
    loss = losses.MeanSquaredError(reduction=reduction)
    weights = None if weights is None else np.asarray(weights, "float32")
    np.testing.assert_allclose(loss(ZEROS, STEPS, weights), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("reduction", "weights", "expected"),
    [
        ("sum_over_batch_size", None, (1 + 16 + 25) / 3),
        ("sum", None, 42.0),
        ("mean_with_sample_weight", None, 14.0),
        ("sum_over_batch_size", [3.0, 1.0], (3 + 16 + 25) / 3),
        ("mean_with_sample_weight", [3.0, 1.0], (3 + 16 + 25) / 5),
    ],
)
def test_masks_of_predictions(reduction, weights, expected):
    y_pred = jnp.asarray(STEPS)
    set_mask(y_pred, jnp.array([[True, False, False], [True, True, False]]))
    weights = None if weights is None else np.asarray(weights)
    value = losses.MeanSquaredError(reduction=reduction)(ZEROS, y_pred, weights)
    assert float(value) == pytest.approx(expected, rel=1e-6)


def test_a_fully_masked_batch_is_zero_not_nan():
    y_pred = jnp.asarray(STEPS)
    set_mask(y_pred, jnp.zeros((2, 3), bool))
    assert float(losses.MeanSquaredError()(ZEROS, y_pred)) == 0.0


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"sample_weight of shape \(3,\) does not fit.*\(2, 3\)"):
        losses.MeanSquaredError()(ZEROS, STEPS, np.ones(3))


def test_unknown_reduction():
    with pytest.raises(ValueError, match="unknown reduction 'average'.*sum_over_batch_size"):
        losses.MeanSquaredError(reduction="average")


def test_dtype_and_half_precision_sums():
    loss = losses.MeanSquaredError(dtype="float16")
    many = np.full((80_000, 1), 1.0, "float32")
    value = loss(0 * many, many)
    assert value.dtype == "float16" and float(value) == 1.0
    assert loss.get_config()["dtype"] == "float16"


def test_labels_stay_integers_in_half_precision():
    probabilities = np.full((1, 300), 1e-3, "float32")
    probabilities[0, 257] = 1.0
    loss = losses.SparseCategoricalCrossentropy(dtype="bfloat16")
    assert float(loss(np.array([257]), probabilities)) < 0.5


@pytest.mark.parametrize(
    ("loss", "y", "x", "value", "slope"),
    [
        # naive exp or log of these overflows or is -inf
        ("CategoricalCrossentropy", [[0.0, 1.0]], [[1000.0, 0.0]], 1000.0, [[1.0, -1.0]]),
        ("SparseCategoricalCrossentropy", [1], [[1000.0, 0.0]], 1000.0, [[1.0, -1.0]]),
        ("BinaryCrossentropy", [[1.0]], [[-200.0]], 200.0, [[-1.0]]),
        ("BinaryCrossentropy", [[0.0]], [[0.0]], np.log(2), [[0.5]]),
    ],
)
def test_extreme_logits(loss, y, x, value, slope):
    loss = getattr(losses, loss)(from_logits=True)
    got, gradient = jax.value_and_grad(loss, argnums=1)(np.array(y), np.array(x, "float32"))
    assert float(got) == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-6)


def test_log_cosh_of_large_errors():
    assert float(losses.log_cosh([[0.0]], [[-500.0]])[0]) == pytest.approx(500 - np.log(2))


def test_cosine_of_zero_has_a_finite_gradient():
    gradient = jax.grad(losses.CosineSimilarity(), argnums=1)(np.ones((1, 2)), np.zeros((1, 2)))
    assert np.isfinite(np.asarray(gradient)).all()


def test_ignored_places_may_hold_nan():
    y, p = np.array([0, -1]), np.array([[0.5, 0.5], [np.nan, np.nan]], "float32")
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    value, gradient = jax.value_and_grad(loss, argnums=1)(y, p)
    assert float(value) == pytest.approx(np.log(2)) and np.isfinite(np.asarray(gradient)).all()


def test_ranks_that_differ_by_an_axis_of_one():
    y, f = np.array([1.0, 2.0, 4.0]), np.array([[1.0], [2.0], [2.0]])
    for name in ("MeanSquaredError", "MeanAbsoluteError", "Huber"):
        column = getattr(losses, name)()(y[:, None], f)
        assert float(getattr(losses, name)()(y, f)) == float(column)
    assert float(losses.BinaryCrossentropy()(np.array([1.0, 0.0]), np.full((2, 1), 0.5))) > 0


def test_own_loss_with_several_outputs():
    class Both(losses.Loss):
        def call(self, y_true, y_pred):
            return jnp.abs(y_true["a"] - y_pred["a"]) + jnp.abs(y_true["b"] - y_pred["b"])

    y = {"a": np.ones(3), "b": np.zeros(3)}
    assert float(Both()(y, {"a": np.zeros(3), "b": np.full(3, 2.0)})) == 3.0
    Both().check(y, (None, 2), "fit")  # anything goes where nothing is known


# --- bad targets: loss, arguments, targets, output shape, and what the message says
OK = [
    ("MeanSquaredError", {}, np.zeros(4), (None, 1)),
    ("MeanSquaredError", {}, np.zeros((4, 1)), (None,)),
    ("MeanSquaredError", {}, np.zeros((4, 9, 2)), (None, None, 2)),
    ("BinaryCrossentropy", {}, np.array([0, 1, 1]), (None, 1)),
    ("BinaryCrossentropy", {}, np.array([[True], [False]]), (None, 1)),
    ("CategoricalCrossentropy", {}, np.eye(3), (None, 3)),
    ("SparseCategoricalCrossentropy", {}, np.array([0, 2]), (None, 3)),
    ("SparseCategoricalCrossentropy", {}, np.array([[0], [2]]), (None, 3)),
    ("SparseCategoricalCrossentropy", {}, np.array([0.0, 2.0]), (None, 3)),
    ("SparseCategoricalCrossentropy", {}, np.zeros((2, 7), int), (None, None, 3)),
    ("SparseCategoricalCrossentropy", {"ignore_class": -1}, np.array([-1, 2]), (None, 3)),
    ("SparseCategoricalCrossentropy", {"axis": 1}, np.zeros((2, 4), int), (None, 3, 4)),
    ("Poisson", {}, np.array([[-1.0]]), (None, 1)),
    ("MeanSquaredLogarithmicError", {}, np.array([[-1.0]]), (None, 1)),
]
SPARSE, ONE_HOT = "SparseCategoricalCrossentropy", "CategoricalCrossentropy"
BAD = [
    (SPARSE, {}, np.eye(3), (None, 3), ["look one-hot", "loss='categorical_crossentropy'"]),
    (SPARSE, {}, np.array([0, 1, 5]), (None, 3), ["label 5 in row 2", "[0, 3)", "units"]),
    (SPARSE, {}, np.array([1, 2, 3, 3]), (None, 3), ["label 3 in row 2 (and 1 more)"]),
    (SPARSE, {}, np.array([0, -1]), (None, 3), ["label -1 in row 1", "ignore_class"]),
    (SPARSE, {}, np.array([0.0, 1.5]), (None, 3), ["hold 1.5 in row 1", "no integer"]),
    (SPARSE, {}, np.array([np.nan, 1.0]), (None, 3), ["hold nan in row 0", "no integer"]),
    (SPARSE, {}, np.array(["a", "b"]), (None, 3), ["no numbers", "numpy.unique"]),
    (SPARSE, {}, np.zeros((4, 2), int), (None, 3), ["one label per prediction", "(4, 2)"]),
    (
        ONE_HOT,
        {},
        np.array([0, 1, 2]),
        (None, 3),
        [
            "integer labels",
            "loss='sparse_categorical_crossentropy'",
            "keras.utils.to_categorical(y, num_classes=3)",
            "shape (3,)",
            "(None, 3)",
        ],
    ),
    (ONE_HOT, {}, np.array([[0], [1]]), (None, 3), ["integer labels", "to_categorical"]),
    (ONE_HOT, {}, np.eye(4), (None, 3), ["output of 3 classes", "shape (4, 4)"]),
    ("MeanSquaredError", {}, np.zeros((6, 5)), (None, 1), ["broadcast", "(6, 5)", "(None, 1)"]),
    ("MeanSquaredError", {}, np.zeros(6), (None, 5), ["broadcast", "(6,)", "(None, 5)"]),
    ("MeanSquaredError", {}, np.zeros((6, 1)), (None, 5), ["broadcast"]),
    ("MeanAbsoluteError", {}, np.zeros((6, 2, 1)), (None, 2, 3), ["broadcast"]),
    ("Hinge", {}, np.zeros(6), (None, 6), ["broadcast"]),
    ("BinaryCrossentropy", {}, np.array([0, 1, 2]), (None, 1), ["hold 2 in row 2", "0 and 1"]),
    ("BinaryCrossentropy", {}, np.array([[-1.0], [1.0]]), (None, 1), ["hold -1.0", "(y + 1) / 2"]),
    ("BinaryCrossentropy", {}, np.zeros((4, 3)), (None, 1), ["broadcast"]),
    ("BinaryFocalCrossentropy", {}, np.array([np.nan]), (None, 1), ["hold nan in row 0"]),
]


@pytest.mark.parametrize(("name", "kwargs", "y", "shape"), OK)
def test_check_accepts(name, kwargs, y, shape):
    getattr(losses, name)(**kwargs).check(y, shape, "fit", "dense")


@pytest.mark.parametrize(("name", "kwargs", "y", "shape", "parts"), BAD)
def test_check_refuses(name, kwargs, y, shape, parts):
    loss = getattr(losses, name)(name="the_loss", **kwargs)
    with pytest.raises(ValueError) as caught:
        loss.check(y, shape, "fit", "dense_3")
    message = str(caught.value)
    for part in ["fit(): ", "output 'dense_3'", "'the_loss'", "Received:", "Expected:", "Remedy:"]:
        assert part in message
    for part in parts:
        assert part in message, message


def test_check_of_a_function_by_name():
    with pytest.raises(ValueError, match="loss 'categorical_crossentropy': they look like"):
        losses.as_loss("categorical_crossentropy").check(np.arange(3), (None, 3), "fit")


@pytest.mark.parametrize(
    ("function", "y", "f"),
    [
        ("categorical_crossentropy", (4,), (4, 3)),
        ("binary_crossentropy", (4,), (4, 3)),
        ("sparse_categorical_crossentropy", (4, 3), (4, 3)),
        ("categorical_focal_crossentropy", (4, 2), (4, 3)),
    ],
)
def test_functions_refuse_other_shapes(function, y, f):
    with pytest.raises(ValueError, match="shape"):
        getattr(losses, function)(np.zeros(y), np.ones(f))


def test_axis_must_be_an_int():
    with pytest.raises(ValueError, match="axis must be an int"):
        losses.categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]], axis=True)


def test_derivatives_of_the_cross_entropy_of_labels():
    """Its first derivative is written out: softmax - one_hot, 0 for a label that is no class."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)).astype("float32") * 3)
    labels = np.array([2, 0, 4])
    weights = np.array([0.5, 2.0, 3.0], "float32")

    def loss(x):
        values = carnyx.ops.sparse_categorical_crossentropy(labels, x, from_logits=True)
        return jnp.sum(values * weights)

    p = np.exp(np.asarray(x, "float64"))
    p /= p.sum(axis=1, keepdims=True)
    known = (labels < 4)[:, None]
    slope = weights[:, None] * known * (p - np.eye(5)[labels][:, :4])
    np.testing.assert_allclose(jax.grad(loss)(x), slope, rtol=1e-5, atol=1e-6)
    direction = jnp.cos(jnp.arange(12.0)).reshape(3, 4)
    _, along = jax.jvp(loss, (x,), (direction,))
    np.testing.assert_allclose(along, np.sum(slope * direction), rtol=1e-5)
    # the second derivative along a direction d is w p (d - sum(p d))
    _, curved = jax.jvp(jax.grad(loss), (x,), (direction,))
    expected = weights[:, None] * known * p * (direction - np.sum(p * direction, 1, keepdims=True))
    np.testing.assert_allclose(curved, expected, rtol=1e-5, atol=1e-6)
