"""The confusion matrix for reports, and losses over whole batches."""

import jax
import keras
import numpy as np
import pytest

from carnyx import losses, metrics


def test_matrix_counts_labels_scores_and_weights():
    rng = np.random.default_rng(0)
    y, f, w = rng.integers(0, 4, 50), rng.normal(size=(50, 4)), rng.uniform(size=50)
    matrix = metrics.ConfusionMatrix(4)
    for rows in (slice(0, 7), slice(7, 50)):
        matrix.update_state(y[rows], f[rows], w[rows])
    expected = np.zeros((4, 4))
    for i in range(50):
        expected[y[i], f[i].argmax()] += w[i]
    np.testing.assert_allclose(matrix.result(), expected, rtol=1e-5)
    other = metrics.ConfusionMatrix(4)
    other.update_state(y[:, None], f)
    third = metrics.ConfusionMatrix(4)
    third.update_state(y, f.argmax(-1))
    np.testing.assert_array_equal(other.result(), third.result())
    report = metrics.ConfusionMatrix(2, names=["a cat of many letters", "dog"])
    report.update_state([0, 0, 1], [0, 1, 1])
    rows = report.report().splitlines()
    assert rows[1].split()[-4:] == ["1.000", "0.500", "0.667", "2"]
    assert len({len(row) for row in rows}) == 1


def test_matrix_is_drawn(tmp_path):
    matrix = metrics.ConfusionMatrix(3)
    matrix.update_state([0, 1, 2, 2], [0, 1, 1, 2])
    figure = matrix.plot(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").stat().st_size > 1000
    assert [t.get_text() for t in figure.axes[0].texts] == list("100010011")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.ConfusionMatrix(0), "num_classes is a whole number from 1"),
        (lambda: metrics.ConfusionMatrix(2, names=["a"]), "one name a class"),
        (lambda: metrics.IoU(2, [2]), "classes below num_classes=2"),
        (lambda: metrics.R2Score("mean"), "class_aggregation is one of"),
        (lambda: metrics.R2Score()([1.0], [1.0]), r"shape \[B, D\]"),
        (lambda: metrics.PrecisionAtRecall(2), r"recall lies in \[0, 1\]"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(1.0), "q lies between 0 and 1"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("more", [{}, {"num_regressors": 2}, {"class_aggregation": None}])
def test_r2_equals_keras(more):
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=(2, 9, 3)).astype("float32")
    ours, theirs = metrics.R2Score(**more), keras.metrics.R2Score(**more)
    np.testing.assert_allclose(ours(y, f), theirs(y, f), rtol=1e-5)


@pytest.mark.parametrize("name", ["Dice", "Tversky"])
def test_overlap_of_a_whole_batch(name):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (3, 4, 4)).astype("float32")
    f = rng.uniform(size=(3, 4, 4)).astype("float32")
    ours, theirs = getattr(losses, name)()(y, f), getattr(keras.losses, name)()(y, f)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_circle_without_pairs_is_zero_with_zero_gradient():
    f = np.eye(3, dtype="float32")
    value, gradient = jax.value_and_grad(lambda f: losses.Circle()(np.arange(3), f))(f)
    assert value == 0 and not np.any(gradient)
