"""jit, grad, value_and_grad, vmap of functions that call layers; train steps written with them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers, ops
from carnyx.core.state import pure

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype("float32")


def noisy(name: str = "net") -> Any:
    init = carnyx.initializers.GlorotUniform(seed=1)
    return carnyx.Sequential(
        [
            layers.Dense(4, "tanh", kernel_initializer=init, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=3),
            layers.Dense(1, kernel_initializer=init),
        ],
        name=name,
    )


def state_of(model: Any) -> list[Any]:
    return [v.numpy() for v in model.variables]


def same(ours: Any, theirs: Any) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_jit_builds_and_keeps_state() -> None:
    plain, compiled = noisy("plain"), noisy("compiled")
    step = carnyx.jit(compiled)
    for training in (True, False, True):
        same(step(X, training=training), plain(X, training=training))
        same(state_of(compiled), state_of(plain))
    assert compiled.built and not any(
        isinstance(v._value, jax.core.Tracer) for v in compiled.variables
    )


def test_jit_traces_once_a_signature_and_reads_variables_anew() -> None:
    traces, w = [], carnyx.Variable(2.0)

    @carnyx.jit(static_argnames="times")
    def scaled(x: Any, mode: str = "mul", times: int = 1) -> Any:
        traces.append(mode)
        for _ in range(times):
            x = x * w if mode == "mul" else x + w
        return x

    def calls() -> list[float]:
        return [
            float(v) for v in (scaled(3.0), scaled(4.0), scaled(3.0, "add"), scaled(3.0, times=2))
        ]

    assert calls() == [6.0, 8.0, 5.0, 12.0]
    before = len(traces)
    w.assign(10.0)
    assert calls() == [30.0, 40.0, 13.0, 300.0] and len(traces) == before == 4
    scaled(np.ones(3, "float32"))
    scaled(jnp.zeros(3))
    assert len(traces) == 5


def test_jit_knows_the_layer_that_calls_it() -> None:
    """What a call depends on besides its arguments is part of the signature."""

    class Inner(carnyx.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.drop = layers.Dropout(0.5, seed=1)
            self.run = carnyx.jit(lambda x: self.drop(x))

        def call(self, x: Any) -> Any:
            return self.run(x)

    layer = Inner()
    x = np.ones((4, 5), "float32")
    assert float(layer(x, training=False).min()) == 1.0
    assert float(layer(x, training=True).min()) == 0.0
    assert float(layer(x, training=False).min()) == 1.0
    inputs = carnyx.Input((5,))
    assert carnyx.Model(inputs, carnyx.jit(lambda t: t * 2)(inputs))(x).shape == (4, 5)


def test_jit_within_pure_and_losses_leave() -> None:
    model, twin = noisy(), noisy("twin")
    for one in (model, twin):
        one.build((None, 3))
    forward = carnyx.jit(lambda x: model(x, training=True))

    def gradients(one: Any, call: Any) -> Any:
        return carnyx.grad(lambda: jnp.sum(call(X)) + sum(one.losses), one.trainable_variables)()

    step = jax.jit(pure(lambda: gradients(model, forward), model.variables))
    found, new = step([v.value for v in model.variables])
    plain = jax.jit(pure(lambda: gradients(twin, lambda x: twin(x, training=True)), twin.variables))
    same((found, new), plain([v.value for v in twin.variables]))
    assert forward(X).shape == (8, 1)


def test_jit_mistakes() -> None:
    with pytest.raises(TypeError, match="jit: expected a function"):
        carnyx.jit(3)
    made = carnyx.jit(lambda x: x + carnyx.Variable(1.0))
    with pytest.raises(ValueError, match="makes new Variables at each run"):
        made(1.0)
    with pytest.raises(TypeError, match="concrete values"):
        carnyx.jit(lambda n: jnp.zeros(n))(3)
    assert carnyx.jit(lambda n: jnp.zeros(n), static_argnums=0)(3).shape == (3,)


def test_gradients_by_variables_and_by_arguments() -> None:
    w, b = carnyx.Variable([1.0, 2.0]), carnyx.Variable(3.0)

    def loss(x: Any, scale: Any = 1.0) -> Any:
        return jnp.sum(w * x) * b * scale, {"x": x}

    x = jnp.array([4.0, 5.0])
    (value, aux), found = carnyx.value_and_grad(loss, {"w": w, "b": [b]}, has_aux=True)(
        x, scale=2.0
    )
    assert float(value) == 84.0 and aux["x"] is not None
    same(found, {"w": np.array([24.0, 30.0]), "b": [28.0]})
    same(carnyx.grad(loss, w, has_aux=True)(x)[0], np.array([12.0, 15.0]))
    same(carnyx.grad(loss, has_aux=True)(x)[0], np.array([3.0, 6.0]))
    same(carnyx.grad(lambda x, y: jnp.sum(x * x * y), argnums=(0, 1))(x, x), (2 * x * x, x * x))
    same(carnyx.grad(lambda x, y: jnp.sum(x * x * y), argnums=-1)(x, x), x * x)
    # of the inner gradient's length, with respect to the weights: a penalty on gradients
    penalty = lambda: jnp.sum(carnyx.grad(lambda x: jnp.sum(w * x**2))(x))  # noqa: E731
    same(carnyx.grad(penalty, [w])(), [2 * x])
    with pytest.raises(TypeError, match="`variables` are Variables.*Received: 3"):
        carnyx.grad(loss, 3)


def test_vmap_of_a_gradient_with_layers() -> None:
    """Gradients of each sample's loss, as per-sample clipping needs them."""
    dense = layers.Dense(2, kernel_initializer=carnyx.initializers.GlorotUniform(1))
    dense.build((None, 3))
    weights = dense.trainable_variables
    each = carnyx.vmap(lambda x: carnyx.grad(lambda: jnp.sum(dense(x[None]) ** 2), weights)())
    alone = [carnyx.grad(lambda x=x: jnp.sum(dense(x[None]) ** 2), weights)() for x in X]
    same(carnyx.jit(each)(X), jax.tree.map(lambda *rows: np.stack(rows), *alone))
    out = carnyx.vmap(lambda x, y: (x @ y, y), in_axes=(1, None), out_axes=(0, None))(X, X[:, 0])
    same(out, (X.T @ X[:, 0], X[:, 0]))


def test_a_training_loop_of_ones_own() -> None:
    """The same numbers as `fit`, from a compiled step that builds model and optimizer itself."""
    y = X @ np.array([[1.0], [2.0], [3.0]], "float32")

    def start() -> Any:
        model = noisy()
        return model, carnyx.optimizers.Adam(0.05)

    model, optimizer = start()

    @carnyx.jit
    def step(x: Any, y: Any) -> Any:
        if not model.built:
            model(x)

        def loss() -> Any:
            return jnp.mean((model(x, training=True) - y) ** 2) + sum(model.losses)

        value, gradients = carnyx.value_and_grad(loss, model.trainable_variables)()
        optimizer.apply(gradients, model.trainable_variables)
        return value

    values = [float(step(X, y)) for _ in range(3)]
    fitted, optimizer = start()
    fitted.compile(optimizer, "mse")
    log = fitted.fit(X, y, epochs=3, batch_size=8, shuffle=False, verbose=0).history
    np.testing.assert_allclose(values, log["loss"], rtol=1e-4)


# ---- train steps that a user writes


class GAN(carnyx.Model):
    """Two networks, two optimizers, two gradients in one step."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.generator = carnyx.Sequential([layers.Dense(8, "tanh"), layers.Dense(2)])
        self.critic = carnyx.Sequential(
            [layers.Dense(8, "relu"), layers.Dropout(0.1, seed=1), layers.Dense(1)]
        )
        self.seeds = carnyx.random.SeedGenerator(1)
        self.critic_loss = carnyx.metrics.Mean(name="critic_loss")

    def compile(self, slow: Any, fast: Any) -> None:
        super().compile(optimizer=None)
        self.slow, self.fast = slow, fast

    def call(self, x: Any) -> Any:
        return self.critic(self.generator(x))

    def train_step(self, data: Any) -> dict[str, Any]:
        real = data[0]
        cross = carnyx.losses.BinaryCrossentropy(from_logits=True)

        def noise() -> Any:
            return carnyx.random.normal(real.shape, seed=self.seeds)

        def for_critic() -> Any:
            fake = self.generator(noise(), training=True)
            found = self.critic(jnp.concatenate([real, fake]), training=True)
            return cross(jnp.repeat(jnp.array([1.0, 0.0]), len(real))[:, None], found)

        def for_generator() -> Any:
            found = self.critic(self.generator(noise(), training=True), training=True)
            return cross(jnp.ones_like(found), found)

        loss, gradients = carnyx.value_and_grad(for_critic, self.critic.trainable_variables)()
        self.fast.apply(gradients, self.critic.trainable_variables)
        gradients = carnyx.grad(for_generator, self.generator.trainable_variables)()
        self.slow.apply(gradients, self.generator.trainable_variables)
        self.critic_loss.update_state(loss)
        return {m.name: m.result() for m in self.metrics}


def test_a_gan_trains() -> None:
    carnyx.utils.set_random_seed(3)
    model = GAN()
    model.compile(carnyx.optimizers.SGD(0.05, momentum=0.9), carnyx.optimizers.Adam(0.02))
    data = np.random.default_rng(0).normal(3.0, 0.1, (32, 2)).astype("float32")
    log = model.fit(data, batch_size=16, epochs=40, shuffle=False, verbose=0).history
    assert int(model.slow.iterations) == int(model.fast.iterations) == 80
    made = model.generator(np.random.default_rng(1).normal(size=(64, 2)).astype("float32"))
    assert np.abs(np.mean(made, 0) - 3.0).mean() < 1.5, "the samples move to the data"
    assert set(log) == {"critic_loss", "loss"} and len(log["critic_loss"]) == 40


class VAE(carnyx.Model):
    """An encoder with noise and a penalty, trained by `value_and_grad` of a scalar with aux."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder, self.decoder = layers.Dense(4), layers.Dense(3)
        self.seeds = carnyx.random.SeedGenerator(2)

    def call(self, x: Any) -> Any:
        mean, spread = ops.split(self.encoder(x), 2, axis=-1)
        noise = carnyx.random.normal(mean.shape, seed=self.seeds)
        self.add_loss(0.01 * jnp.mean(mean**2 + jnp.exp(spread) - spread - 1))
        return self.decoder(mean + jnp.exp(0.5 * spread) * noise)

    def train_step(self, data: Any) -> dict[str, Any]:
        x = data[0]

        def loss() -> Any:
            found = jnp.mean((self(x, training=True) - x) ** 2)
            return found + sum(self.losses), found

        (total, found), gradients = carnyx.value_and_grad(
            loss, self.trainable_variables, has_aux=True
        )()
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": total, "error": found}


def test_a_vae_trains() -> None:
    x = RNG.normal(size=(64, 2)).astype("float32") @ RNG.normal(size=(2, 3)).astype("float32")
    model = VAE()
    model.compile(carnyx.optimizers.Adam(0.03))
    log = model.fit(x, epochs=30, batch_size=32, verbose=0).history
    assert log["error"][-1] < 0.5 * log["error"][0] and log["loss"][-1] > log["error"][-1]
    assert model.seeds.state.numpy().tolist() == [2, 60]


# ---- scopes and other names of the top level


# how many parts are made again in a stack of four layers, two with activations, three of 8 units
MADE_AGAIN = {"full": 4, "activations": 2, "larger_than": 3, "list_of_layers": 1, None: 0}


SLOW = [pytest.param(mode, marks=pytest.mark.slow) for mode in MADE_AGAIN if mode != "larger_than"]


@pytest.mark.parametrize("mode", ["larger_than", *SLOW])
def test_remat_scope_changes_no_number(mode: str | None) -> None:
    def make() -> Any:
        carnyx.utils.set_random_seed(1)
        carnyx.utils.clear_session()
        return [
            layers.Dense(8, "tanh"),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=1),
            layers.Dense(2, "tanh", name="last"),
        ]

    def run(stack: Any) -> Any:
        def loss(x: Any) -> Any:
            for layer in stack:
                x = layer(x, training=True)
            return jnp.sum(x**2)

        variables = [v for layer in stack for v in layer.trainable_variables]
        value = carnyx.value_and_grad(loss, variables or None)(X)
        return loss, [value[0], *[v.numpy() for layer in stack for v in layer.variables]]

    with carnyx.RematScope(mode, output_size_threshold=63, layer_names=["last"]):
        stack = make()
    loss, found = run(stack)
    same(found, run(make())[1])
    variables = [v for layer in stack for v in layer.variables]
    traced = jax.make_jaxpr(pure(lambda: loss(X), variables))([v.value for v in variables])
    names = [equation.primitive.name for equation in traced.eqns]
    assert sum(name in ("checkpoint", "remat2") for name in names) == MADE_AGAIN[mode]


def test_names_of_the_top_level() -> None:
    import keras

    assert carnyx.version() == carnyx.__version__
    assert carnyx.FloatDTypePolicy("float32").name == "float32"
    v = carnyx.Variable(1.0)
    with carnyx.SymbolicScope():
        v.assign(2.0)
        assert float(v) == 2.0
    assert float(v) == 1.0
    with carnyx.device("cpu:0"):
        assert next(iter(jnp.ones(2).devices())).platform == "cpu"
    for bad in ("gpu:7", "cpu:99", "warp", 3):
        with pytest.raises(ValueError, match="device: .* is not here. Devices: \\['cpu:0'"):
            carnyx.device(bad)
    with pytest.raises(ValueError, match="RematScope: mode is one of"):
        carnyx.RematScope("some")
    module = type(keras)
    names = {n for n in dir(keras) if n[0] != "_" and not isinstance(getattr(keras, n), module)}
    assert names - set(carnyx.__all__) == {"Quantizer"}
