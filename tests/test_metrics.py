"""Metrics against NumPy, over unequal batches, traced, and from configs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from carnyx import losses, metrics
from carnyx.core.state import pure, set_mask
from tests.cases.losses import data
from tests.cases.metrics import CASES, Case

by_id = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
BATCH = 8


def make(case: Case):
    y, f = data(case.data, batch=BATCH)
    weights = np.random.default_rng(2).uniform(0, 2, BATCH).astype("float32")
    return getattr(metrics, case.cls)(**case.kwargs), y, f, weights


def expected(case: Case, y, f, w):
    y = y if "labels" in case.data else y.astype(float)
    return case.oracle(y, f.astype(float), w.astype(float))


@by_id
def test_unequal_batches_traced_give_the_whole(case: Case):
    metric, y, f, w = make(case)
    metric.build(y.shape, f.shape)

    def both(y, f, w):
        for rows in (slice(0, 5), slice(5, 8)):
            metric.update_state(y[rows], f[rows], sample_weight=w[rows])
        return metric.result()

    values = [v.value for v in metric.variables]
    out, _ = jax.jit(pure(both, metric.variables))(values, y, f, w)
    np.testing.assert_allclose(out, expected(case, y, f, w), rtol=5e-6, atol=1e-6)
    assert all(v.dtype == "float32" and not v.trainable for v in metric.variables)


@by_id
def test_config_round_trip(case: Case):
    config = metrics.serialize(getattr(metrics, case.cls)(**case.kwargs))
    assert config["module"] == "keras.metrics" and config["class_name"] == case.cls
    assert metrics.serialize(metrics.deserialize(config)) == config


FIRST = {case.cls: case for case in reversed(CASES)}  # one row a class


@pytest.mark.parametrize("cls", sorted(FIRST))
def test_eager_unweighted_and_reset(cls):
    case = FIRST[cls]
    metric, y, f, _ = make(case)
    result = expected(case, y, f, np.ones(BATCH))
    np.testing.assert_allclose(metric(y, f), result, rtol=5e-6, atol=1e-6)
    metric.reset_state()
    assert all(not v.numpy().any() for v in metric.variables)


def test_stateless_calls():
    metric = metrics.Mean()
    values = metric.stateless_update_state(metric.stateless_reset_state(), jnp.array([2.0, 4.0]))
    assert float(metric.stateless_result(values)) == 3.0
    assert float(metric.result()) == 0.0
    with pytest.raises(ValueError, match="Expected 2 values"):
        metric.stateless_result([0.0])


@pytest.mark.parametrize(
    ("values", "weights", "mean", "total"),
    [
        (3.0, None, 3.0, 3.0),
        ([1.0, 3.0], None, 2.0, 4.0),
        ([1.0, 3.0], [1.0, 0.0], 1.0, 1.0),
        ([1.0, 3.0], 2.0, 2.0, 8.0),
        ([[1.0, 3.0], [5.0, 7.0]], [1.0, 3.0], 5.0, 40.0),
        ([[1.0, 3.0], [5.0, 7.0]], [[1.0, 0.0], [0.0, 1.0]], 4.0, 8.0),
        ([[1.0], [5.0]], [1.0, 3.0], 4.0, 16.0),
        ([1.0, 5.0], [[1.0], [3.0]], 4.0, 16.0),
        ([1.0, 5.0], [0.0, 0.0], 0.0, 0.0),
    ],
)
def test_mean_and_sum(values, weights, mean, total):
    values = jnp.asarray(values)
    weights = None if weights is None else jnp.asarray(weights)
    assert float(metrics.Mean()(values, weights)) == pytest.approx(mean)
    assert float(metrics.Sum()(values, weights)) == pytest.approx(total)


def test_masked_predictions_do_not_count():
    y_pred = jnp.array([[0.0, 5.0], [1.0, 2.0]])
    set_mask(y_pred, jnp.array([[True, False], [True, True]]))
    metric = metrics.MeanMetricWrapper(lambda t, p: jnp.abs(t - p))
    assert float(metric(jnp.zeros((2, 2)), y_pred)) == pytest.approx(1.0)
    metric.reset_state()
    weighted = metric(jnp.zeros((2, 2)), y_pred, sample_weight=jnp.array([2.0, 1.0]))
    assert float(weighted) == pytest.approx(3 / 4)


def test_counts_stay_exact_under_half_types():
    metric = metrics.Mean(dtype="bfloat16")
    for _ in range(3):
        metric.update_state(jnp.ones(500, "bfloat16"))
    assert metric.result().dtype == "bfloat16" and float(metric.count.value) == 1500.0


def test_half_predictions_are_averaged_in_float32():
    y, p = np.array([0]), jnp.array([[0.3, 0.7]], "bfloat16")
    value = metrics.SparseCategoricalCrossentropy()(y, p)
    exact = np.asarray(p, "float32")
    assert float(value) == pytest.approx(-np.log(exact[0, 0] / exact.sum()), rel=1e-6)


def test_labels_above_255_in_bytes():
    scores = np.eye(300, dtype="float32")[[257, 1]]
    right = metrics.sparse_categorical_accuracy(np.array([1, 1], "uint8"), scores)
    assert right.tolist() == [0.0, 1.0]


def test_many_values_at_even_thresholds():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 5000), rng.uniform(size=5000).astype("float32")
    metric = metrics.TruePositives(thresholds=[i / 10 for i in range(11)])
    loop = [(p[y == 1] > np.float32(i / 10)).sum() for i in range(11)]
    assert metric(y, p).tolist() == loop


def test_auc_per_label():
    y, f = data("binary", batch=24)
    weights = [1.0, 2.0, 0.0, 1.0, 1.0]
    one = metrics.AUC(50)
    start = [v.value for v in one.variables]
    column = jax.jit(pure(one, one.variables))
    each = [column(start, y[:, i], f[:, i])[0] for i in range(5)]
    metric = metrics.AUC(50, multi_label=True, label_weights=weights)
    assert metric.variables == []  # it waits for the number of labels
    metric.build(y.shape, f.shape)
    values = [v.value for v in metric.variables]
    out, _ = jax.jit(pure(metric, metric.variables))(values, y, f)
    assert float(out) == pytest.approx(np.average(each, weights=weights), rel=1e-5)
    assert len(metrics.AUC(50, multi_label=True, num_labels=5).variables) == 4


def test_auc_from_logits():
    y, f = data("binary")
    metric = metrics.AUC(50, from_logits=True)
    assert float(metric(y, np.log(f / (1 - f)))) == float(metrics.AUC(50)(y, f))


def test_own_metric_with_a_metric_inside():
    class Both(metrics.Metric):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.mean = metrics.Mean()
            self.seen = self.add_weight(name="seen", initializer="zeros")

        def update_state(self, values):
            self.mean.update_state(values)
            self.seen.assign_add(1)

        def result(self):
            return {"mean": self.mean.result(), "seen": self.seen.value}

    metric = Both(name="both")
    assert len(metric.variables) == 3 and metric.seen.path == "both/seen"
    assert {k: float(v) for k, v in metric([1.0, 3.0]).items()} == {"mean": 2.0, "seen": 1.0}
    metric.reset_state()
    assert float(metric.result()["mean"]) == 0.0


def test_names():
    assert isinstance(metrics.get("mse"), metrics.MeanSquaredError)
    assert isinstance(metrics.get("categorical_accuracy"), metrics.CategoricalAccuracy)
    assert isinstance(metrics.get(metrics.AUC), metrics.AUC)
    assert metrics.get(None) is None
    assert metrics.mse is losses.mean_squared_error
    with pytest.raises(ValueError, match="Unknown metric: 'acuracy'.*Did you mean 'accuracy'"):
        metrics.get("acuracy")
    wrapper = metrics.MeanMetricWrapper(losses.huber, name="h", delta=2.0)
    twin = metrics.deserialize(metrics.serialize(wrapper))
    assert twin.fn is losses.huber and twin.get_config() == wrapper.get_config()


@pytest.mark.parametrize(
    ("y", "f", "accuracy", "crossentropy"),
    [
        ((None,), (None, 1), "BinaryAccuracy", "BinaryCrossentropy"),
        ((None, 1), (None, 1), "BinaryAccuracy", "BinaryCrossentropy"),
        ((None,), (None, 3), "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
        ((None, 1), (None, 3), "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
        ((None, 7), (None, 7, 3), "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
        ((None, 3), (None, 3), "CategoricalAccuracy", "CategoricalCrossentropy"),
    ],
)
def test_what_accuracy_means(y, f, accuracy, crossentropy):
    assert metrics.resolve_accuracy("accuracy", y, f).__name__ == accuracy
    assert metrics.resolve_accuracy("crossentropy", y, f).__name__ == crossentropy
    logits = losses.CategoricalCrossentropy(from_logits=True)
    assert metrics.resolve_accuracy("crossentropy", y, f, logits)(name="ce").from_logits


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: metrics.Precision(thresholds=1.5), "numbers in \\[0, 1\\].*1.5"),
        (lambda: metrics.AUC(curve="ABC"), "unknown curve 'ABC'.*ROC"),
        (lambda: metrics.AUC(summation_method="x"), "unknown summation_method"),
        (lambda: metrics.AUC(num_thresholds=1), "at least 2"),
        (lambda: metrics.AUC(num_labels=2), "multi_label"),
        (lambda: metrics.FBetaScore(beta=-1.0), "beta must be a float above 0"),
        (lambda: metrics.F1Score(average="all"), "F1Score: average must be one of"),
        (lambda: metrics.F1Score(threshold=2.0), "threshold must be None or a float in"),
        (lambda: metrics.F1Score()([1, 0], [0.5, 0.5]), "shape \\[B, C\\].*to_categorical"),
        (lambda: metrics.Recall(class_id=1)([1, 0], [0.5, 0.5]), "class_id wants"),
        (lambda: metrics.Mean()(jnp.ones((2, 3)), jnp.ones(4)), "sample_weight"),
        (lambda: metrics.resolve_accuracy("f1", (1,), (1,)), "Expected one of"),
    ],
)
def test_mistakes(make, match):
    with pytest.raises(ValueError, match=match):
        make()
