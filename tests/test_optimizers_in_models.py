"""Optimizers inside `fit`: which weights a model is judged by; several optimizers for one model."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import carnyx
from carnyx import optimizers
from tests.test_optimizers import GRADIENTS, START, assert_same, schedule_free

# ---- the weights that a model is judged by


def _line(optimizer):
    """A small regression, compiled; its data."""
    carnyx.utils.set_random_seed(0)
    model = carnyx.Sequential([carnyx.layers.Dense(2, name="line")])
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(64, 3)).astype("float32")
    y = (x @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(64, 2))).astype("float32")
    model.build((None, 3))
    model.set_weights([np.full((3, 2), 0.1, "float32"), np.zeros(2, "float32")])
    return model, x, y


def _schedule_free_line(**kwargs):
    return _line(optimizers.ScheduleFreeAdamW(0.05, **kwargs))


def _mean_of_z(model, x, y, steps: int):
    """x of a run of `steps` whole-batch steps: the mean of z, in NumPy."""
    means: list[list] = [[], []]
    loops = [
        schedule_free(w.astype("float64"), seen=seen)
        for w, seen in zip(model.get_weights(), means, strict=True)
    ]
    kernel, bias = (next(loop) for loop in loops)
    for _ in range(steps):
        slope = (x @ kernel + bias - y) / y.size * 2
        kernel, bias = loops[0].send(x.T @ slope), loops[1].send(slope.sum(0))
    return [seen[-1] for seen in means]


def test_schedule_free_models_are_judged_by_the_mean():
    model, x, y = _schedule_free_line()
    expected = _mean_of_z(model, x, y, 8)
    history = model.fit(
        x, y, batch_size=64, epochs=8, validation_data=(x, y), verbose=0, shuffle=False
    )
    for value, mean in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(value, mean, rtol=1e-4, atol=1e-5)
    loss = ((x @ expected[0] + expected[1] - y) ** 2).mean()
    assert history.history["val_loss"][-1] == pytest.approx(loss, rel=1e-4)
    assert model.evaluate(x, y, batch_size=64, verbose=0) == pytest.approx(loss, rel=1e-4)
    outputs = model.predict(x, verbose=0)
    np.testing.assert_allclose(outputs, x @ expected[0] + expected[1], rtol=1e-4, atol=1e-4)


def test_schedule_free_training_goes_on_where_it_was():
    once, x, y = _schedule_free_line()
    twice, _, _ = _schedule_free_line()
    once.fit(x, y, batch_size=64, epochs=6, verbose=0)
    twice.fit(x, y, batch_size=64, epochs=3, verbose=0, validation_data=(x, y))
    twice.evaluate(x, y, verbose=0)
    for _ in range(3):
        twice.train_on_batch(x, y)
    twice.predict(x, verbose=0)
    for a, b in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_schedule_free_inside_wrappers_and_beside_averages():
    scaled, x, y = _line(optimizers.LossScaleOptimizer(optimizers.ScheduleFreeAdamW(0.05), 8.0))
    both = optimizers.OptimizerMap(optimizers.SGD(0.05), {".*": optimizers.ScheduleFreeAdamW(0.05)})
    several, _, _ = _line(optimizers.MultiOptimizer(both))
    plain, _, _ = _schedule_free_line()
    for model in (plain, scaled, several):
        model.fit(x, y, batch_size=64, epochs=4, verbose=0)
        for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    averaged, _, _ = _schedule_free_line(use_ema=True, ema_momentum=0.5)
    averaged.fit(x, y, batch_size=64, epochs=4, verbose=0)
    slot = averaged.optimizer._slots["average"][0]
    np.testing.assert_array_equal(averaged.get_weights()[0], slot.numpy())


def test_muon_in_fit():
    model, x, y = _line(optimizers.Muon(0.3))
    history = model.fit(x, y, batch_size=16, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.2 * history[0]


# ---- several optimizers


def _several(module, **kwargs):
    kinds = module.optimizers
    chosen = kinds.OptimizerMap(kinds.SGD(0.05, momentum=0.9, name="plain"))
    chosen["w0"] = kinds.Adam(0.1, name="exact", clipnorm=0.5)
    chosen["v.*"] = kinds.Adam(0.2, name="unused")
    optimizer = kinds.MultiOptimizer(chosen, name="both", **kwargs)
    params = [module.Variable(a, name=f"w{i}") for i, a in enumerate(START)]
    optimizer.build(params)
    return optimizer, params


@pytest.mark.parametrize("kwargs", [{}, {"loss_scale_factor": 8.0}])
def test_several_optimizers_as_in_keras(kwargs: dict):
    (ours, params), (theirs, keras_params) = (_several(m, **kwargs) for m in (carnyx, keras))
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    update, update_keras = jax.jit(ours.stateless_apply), jax.jit(theirs.stateless_apply)
    weights, state = params, ours.variables
    keras_weights, keras_state = ([v.value for v in vs] for vs in (keras_params, theirs.variables))
    for gradients in GRADIENTS:
        gradients = [jnp.asarray(g) for g in gradients]
        weights, state = update(
            [jnp.asarray(v) for v in state], gradients, list(map(jnp.asarray, weights))
        )
        keras_weights, keras_state = update_keras(keras_state, gradients, keras_weights)
    assert_same([*weights, *state], [*keras_weights, *keras_state])
    assert ours.get_config() == theirs.get_config()
    config = optimizers.serialize(ours)
    assert config == keras.optimizers.serialize(theirs)
    assert optimizers.deserialize(config).get_config() == ours.get_config()
    assert keras.optimizers.deserialize(config).get_config() == ours.get_config()


def test_several_optimizers_in_fit_and_on_disk(tmp_path):
    chosen = optimizers.OptimizerMap(optimizers.SGD(0.0), {".*/kernel": optimizers.SGD(0.1, 0.9)})
    model, x, y = _line(optimizers.MultiOptimizer(chosen))
    before = model.get_weights()
    model.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[1], before[1])
    assert not np.array_equal(model.get_weights()[0], before[0])
    assert int(model.optimizer.iterations) == 4
    model.save_weights(tmp_path / "two.weights.h5")
    twin, _, _ = _line(optimizers.deserialize(optimizers.serialize(model.optimizer)))
    twin.optimizer.build(twin.trainable_variables)
    twin.load_weights(tmp_path / "two.weights.h5")
    assert_same(
        [v.numpy() for v in twin.optimizer.variables],
        [v.numpy() for v in model.optimizer.variables],
    )


def test_the_optimizer_that_a_function_chooses():
    slow, fast = optimizers.SGD(0.1), optimizers.SGD(1.0)
    optimizer = optimizers.MultiOptimizer(lambda v: fast if v.name == "w1" else slow)
    params = [carnyx.Variable(a, name=f"w{i}") for i, a in enumerate(START)]
    optimizer.apply([jnp.ones((4, 3)), jnp.ones(3)], params)
    np.testing.assert_allclose(params[0], START[0] - 0.1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(params[1], START[1] - 1.0, rtol=1e-5, atol=1e-6)
    assert optimizer.optimizers == [slow, fast]
    optimizer.loss_scale_factor = 2.0
    assert slow.loss_scale_factor == fast.loss_scale_factor == 2.0
    averages = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    optimizer = optimizers.MultiOptimizer(
        lambda v: averages if v.name == "w1" else optimizers.SGD()
    )
    optimizer.finalize_variable_values(params)  # nothing yet
    optimizer.build(params)
    for _ in range(2):
        optimizer.apply([jnp.zeros((4, 3)), jnp.ones(3)])
    optimizer.finalize_variable_values(params)
    np.testing.assert_allclose(params[1], START[1] - 2.5, rtol=1e-5, atol=1e-6)


def test_mistakes_with_several_optimizers():
    kinds, sgd = optimizers, optimizers.SGD()
    chosen = kinds.OptimizerMap(sgd, {"a/.*": kinds.Adam(), ".*/b": kinds.Adam()})
    assert chosen["c"] is sgd and "c" not in chosen and len(chosen) == 2
    with pytest.raises(ValueError, match=r"several patterns match 'a/b'"):
        chosen["a/b"]
    chosen["a/b"] = sgd
    assert chosen["a/b"] is sgd
    with pytest.raises(ValueError, match="has an optimizer already"):
        chosen["a/b"] = sgd
    del chosen["a/b"]
    with pytest.raises(ValueError, match="keys are strings"):
        chosen[0] = sgd  # type: ignore[index]
    with pytest.raises(ValueError, match="is no Optimizer"):
        chosen["x"] = "sgd"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="cannot be inside"):
        chosen["x"] = kinds.LossScaleOptimizer(sgd)
    with pytest.raises(ValueError, match="cannot be inside"):
        kinds.MultiOptimizer(kinds.OptimizerMap(kinds.MultiOptimizer(chosen)))
    for wrong in ({"default_optimizer": "sgd"}, {"default_optimizer": sgd, "optimizer_map": [sgd]}):
        with pytest.raises(TypeError, match="OptimizerMap"):
            kinds.OptimizerMap(**wrong)
    with pytest.raises(TypeError, match="takes an OptimizerMap"):
        kinds.MultiOptimizer({"a": sgd})  # type: ignore[arg-type]
    optimizer = kinds.MultiOptimizer(chosen)
    for way in (lambda: optimizer.learning_rate, lambda: setattr(optimizer, "learning_rate", 1.0)):
        with pytest.raises(AttributeError, match="no learning rate of its own"):
            way()
