"""The learning-rate finder: against one step at a time, and whether it leaves no trace."""

import numpy as np
import pytest

import carnyx
from carnyx import layers, optimizers
from carnyx.train.lr_finder import LearningRates

RNG = np.random.default_rng(5)
X = RNG.normal(size=(70, 4)).astype("float32")
Y = (X @ RNG.normal(size=(4, 2))).astype("float32")


def line(optimizer, **kwargs):
    carnyx.utils.set_random_seed(0)
    model = carnyx.Sequential([carnyx.Input((4,)), layers.Dense(2)])
    model.compile(optimizer, "mse", **kwargs)
    return model


@pytest.mark.parametrize("eager", [False, True])
def test_losses_are_those_of_single_steps(eager: bool):
    model = line(optimizers.SGD(0.5, momentum=0.9), metrics=["mae"], run_eagerly=eager)
    found = model.find_learning_rate(
        X, Y, batch_size=16, min_rate=1e-3, max_rate=0.1, steps=9, divergence=1e9, seed=4
    )
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 0.1, 9), rtol=1e-5)
    twin, rng, losses = line(optimizers.SGD(0.5, momentum=0.9)), np.random.default_rng(4), []
    # 70 rows make 4 whole batches: three passes for 9 steps
    rows = np.concatenate([rng.permutation(70)[:64] for _ in range(3)]).reshape(-1, 16)
    for rate, batch in zip(found.rates, rows[:9], strict=True):
        twin.reset_metrics()
        twin.optimizer.learning_rate = float(rate)
        losses.append(twin.train_on_batch(X[batch], Y[batch]))
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)


def test_nothing_is_changed():
    def make():
        carnyx.utils.set_random_seed(1)
        model = carnyx.Sequential(
            [carnyx.Input((4,)), layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.5)]
        )
        model.add(layers.Dense(2))
        model.compile("adam", "mse", metrics=["mae"])
        model.fit(X, Y, epochs=1, verbose=0, shuffle=False)
        return model

    model, twin = make(), make()
    every = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    before = [v.numpy() for v in every]
    model.find_learning_rate(X, Y, steps=20)
    assert len({v.kind for v in every}) > 1  # seeds too
    for variable, value in zip(every, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert "train_step" not in vars(model)
    histories = [m.fit(X, Y, epochs=1, verbose=0, shuffle=False).history for m in (model, twin)]
    assert histories[0] == histories[1]
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_optimizers_of_every_kind_come_back():
    schedule = optimizers.schedules.OneCycle(0.1, 100)
    scaled = optimizers.LossScaleOptimizer(optimizers.SGD(0.125))
    for optimizer in (optimizers.Adam(schedule), optimizers.ScheduleFreeAdamW(0.125), scaled):
        model = line(optimizer)
        model.fit(X, Y, epochs=1, verbose=0)
        weights, rate = model.get_weights(), float(optimizer.learning_rate)
        loss = model.evaluate(X, Y, verbose=0)
        found = model.find_learning_rate(X, Y, steps=12, max_rate=1e-2)
        np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 1e-2, 12), rtol=1e-5)
        assert float(optimizer.learning_rate) == rate
        assert model.evaluate(X, Y, verbose=0) == loss
        for a, b in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_it_comes_back_after_an_error_too():
    class Odd(carnyx.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs)

        def train_step(self, data):
            return {"accuracy": 1.0}

    model = Odd()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"gives the logs \['accuracy'\]. Expected a 'loss'"):
        model.find_learning_rate(X, Y)
    assert "train_step" not in vars(model)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_a_sweep_ends_where_the_loss_grows():
    model = line("sgd")
    found = model.find_learning_rate(X, Y, batch_size=16, max_rate=100.0, steps=120)
    assert found.diverged and len(found.rates) < 120 and found.rates[-1] < 20
    assert len(found.rates) == len(found.losses) == len(found.smoothed)
    assert np.isfinite(found.losses).all()
    # half of what the line can bear: 1 / the greatest curvature
    limit = 1 / np.linalg.eigvalsh(X.T @ X / len(X)).max()
    assert 0.01 * limit < found.suggestion < limit
    huge = model.find_learning_rate(1e20 * X, Y, batch_size=16, min_rate=0.1, steps=10)
    assert huge.diverged and huge.suggestion is None


def test_suggestions():
    rates = np.geomspace(1e-4, 1, 80)
    steepest = 1 / (1 + (np.log(rates / 0.01)) ** 2)  # of a loss that falls fastest at 0.01
    noise = 0.01 * RNG.normal(size=80)
    found = LearningRates.of(rates, 5 - np.cumsum(steepest) * 0.2 + noise, False)
    assert found.suggestion == pytest.approx(0.01, rel=0.3)
    assert LearningRates.of(rates, np.arange(80), False).suggestion is None
    assert LearningRates.of(rates[:1], [1.0], True).suggestion is None
    assert "80 steps from 0.0001 to 1" in repr(found)


def test_generators():
    def batches(count):
        for i in range(count):
            yield X[i : i + 16], Y[i : i + 16]

    model = line("sgd")
    found = model.find_learning_rate(lambda: batches(4), steps=6, max_rate=0.01)
    assert len(found.losses) == 6
    with pytest.warns(UserWarning, match="ended after 3 of 6 steps"):
        found = model.find_learning_rate(batches(3), steps=6, max_rate=0.01)
    assert len(found.losses) == 3


def test_a_plot_is_drawn(tmp_path):
    found = line("sgd").find_learning_rate(X, Y, steps=20)
    figure = found.plot(tmp_path / "rates.png")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "learning rate"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), found.losses)
    assert axes.lines[-1].get_xdata()[0] == found.suggestion
    assert (tmp_path / "rates.png").read_bytes()[1:4] == b"PNG"
    LearningRates.of([1e-3], [0.0], True).plot()  # nothing to see, and no error


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"min_rate": 0.0}, "0 < min_rate < max_rate"),
        ({"min_rate": 1.0, "max_rate": 0.1}, "0 < min_rate < max_rate"),
        ({"max_rate": float("inf")}, "0 < min_rate < max_rate"),
        ({"steps": 1}, "steps is a whole number from 2"),
        ({"divergence": 1.0}, "divergence is above 1"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments(kwargs: dict, message: str):
    with pytest.raises(ValueError, match=message):
        line("sgd").find_learning_rate(X, Y, **kwargs)


def test_models_without_one_rate():
    several = optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.SGD()))
    with pytest.raises(ValueError, match="has several optimizers"):
        line(several).find_learning_rate(X, Y)
    with pytest.raises(ValueError, match="has several optimizers"):
        line(optimizers.LossScaleOptimizer(several)).find_learning_rate(X, Y)
    with pytest.raises(ValueError, match="has no optimizers"):
        line(None).find_learning_rate(X, Y)
    with pytest.raises(ValueError, match="is not compiled"):
        carnyx.Sequential([layers.Dense(2)]).find_learning_rate(X, Y)
