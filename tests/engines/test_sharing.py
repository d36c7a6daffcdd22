"""Programs that are alike share one executable, and no others do."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.engines import xla
from carnyx.engines.xla import XLAEngine
from carnyx.program.fingerprint import MOST, fingerprint
from carnyx.program.trace import Slot, trace

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 6)).astype("float32"), RNG.integers(0, 3, 24)


def network(units: int = 5, activation: str = "relu", rate: float = 0.3, **names: str) -> Any:
    net = carnyx.Sequential(
        [
            carnyx.Input((6,)),
            layers.Dense(units, activation, name=names.get("dense")),
            layers.Dropout(rate, seed=1),
            layers.Dense(3, "softmax", name=names.get("last")),
        ],
        name=names.get("net"),
    )
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def trained(net: Any) -> list[np.ndarray]:
    """Losses and weights after two epochs from weights that are always the same."""
    rng = np.random.default_rng(1)
    net.set_weights([rng.normal(size=w.shape).astype("float32") for w in net.get_weights()])
    net.optimizer.learning_rate = 0.01
    logs = net.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return [np.asarray(logs["loss"]), *net.get_weights(), net.predict(X, verbose=0)]


@pytest.fixture
def compilations(caplog: pytest.LogCaptureFixture) -> Any:
    """How many steps XLA has compiled since it was asked last, by the log that JAX keeps."""
    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):

        def count() -> int:
            done = [r for r in caplog.messages if r.startswith("Finished XLA compilation")]
            caplog.clear()
            return sum("_step" in message for message in done)

        yield count


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> XLAEngine:
    """An engine that has compiled nothing, for all models of a test."""
    made = XLAEngine()
    monkeypatch.setitem(carnyx.engines._made, "xla", made)
    return made


def test_a_second_equal_model_compiles_nothing_and_gives_the_same_bits(engine, compilations):
    first = trained(network())
    assert compilations() == 2  # training and predicting
    second = trained(network(dense="other", last="names", net="altogether"))
    assert compilations() == 0
    engine._kept.clear()
    alone = trained(network())
    assert compilations() == 2
    for ours, shared, expected in zip(first, second, alone, strict=True):
        np.testing.assert_array_equal(ours, expected)
        np.testing.assert_array_equal(shared, expected)


def test_models_that_differ_share_nothing(engine, compilations):
    trained(network())
    compilations()
    others: list[Any] = [{"units": 4}, {"activation": "tanh"}, {"rate": 0.5}]
    shared = [trained(network(**other)) for other in others]
    assert compilations() == 2 + 2 + 1  # predicting knows no dropout
    engine._kept.clear()
    for ours, expected in zip(shared[1], trained(network(**others[1])), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_what_is_state_is_shared_and_what_is_constant_is_not(engine, compilations):
    """Learning rates and seeds are variables: one executable serves them all. A schedule's numbers
    are literals of the Program."""

    def losses(rate: Any, seed: int) -> list[float]:
        net = carnyx.Sequential([carnyx.Input((6,)), layers.Dropout(0.5, seed=seed)])
        net.add(layers.Dense(3, "softmax", kernel_initializer="ones"))
        net.compile(carnyx.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return net.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]

    first = losses(0.1, 1)
    assert compilations() == 1
    assert losses(0.2, 1) != first != losses(0.1, 2) and losses(0.1, 1) == first
    assert compilations() == 0
    decay = carnyx.optimizers.schedules.ExponentialDecay
    found = {tuple(losses(decay(0.1, steps, 0.5), 1)) for steps in (1, 2)}
    assert len(found) == 2 and compilations() == 2


def test_a_profile_of_a_shared_executable_names_the_layers_of_its_model(engine, compilations):
    for names in ({"dense": "a", "net": "one"}, {"dense": "b", "net": "two"}):
        net = network(units=64, **names)
        net.fit(X, Y, batch_size=8, verbose=0)
    assert compilations() == 1
    found = net.profile(X, Y, batch_size=8, steps=6).layers
    assert found["two/b"].forward > 0 and found["two/b"].gradient > 0
    assert not any(name.startswith("one") for name in found)


def test_executables_are_few_and_keep_no_model(engine, compilations, monkeypatch):
    monkeypatch.setattr(xla, "KEPT", 2)
    nets = [network(units) for units in (2, 3, 4)]
    for net in nets:
        net.predict(X, verbose=0)
    assert compilations() == 3 and len(engine._kept) == len(engine._alive) - 1 == 2
    network(4).predict(X, verbose=0), network(3).predict(X, verbose=0)
    assert compilations() == 0
    network(2).predict(X, verbose=0), network(3).predict(X, verbose=0)
    assert compilations() == 1  # of 4 and 3 the one used last stayed
    gone = [weakref.ref(v) for net in nets for v in (net, *net.weights, net.weights[0]._value)]
    del net, nets
    gc.collect()
    assert not any(alive() for alive in gone)
    assert len(engine._kept) == len(engine._alive) == 2


def alike(one: Any, other: Any, *args: Any) -> bool:
    found = [fingerprint(jax.make_jaxpr(f)(*args)) for f in (one, other)]
    assert None not in found
    return found[0] == found[1]


def small(value: Any) -> Any:
    return lambda x: x + np.full((2, 3), value, "float32")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x * 0.0, lambda x: x * -0.0),
        (lambda x: x.astype("int32"), lambda x: x.astype("int16")),
        (lambda x: x - x[0], lambda x: x[0] - x),
        (lambda x: x.sum(0), lambda x: x.sum(0, keepdims=True)),
        (lambda x: (x, x[0]), lambda x: (x[0], x)),
        (lambda x: (x + 1, x + 2)[0], lambda x: (x + 1, x + 2)[1]),
        (small(1), small(2)),
        (small(1), lambda x: x + 1),
        (lambda x: jnp.cumsum(x, 0), lambda x: jnp.cumsum(x, 0)[::-1]),
        (
            lambda x: jax.lax.fori_loop(0, 3, lambda i, c: c * 2, x),
            lambda x: jax.lax.fori_loop(0, 3, lambda i, c: c * 3, x),
        ),
        (
            lambda x: jax.lax.dot(x, x.T),
            lambda x: jax.lax.dot(x, x.T, precision="highest"),
        ),
    ],
    ids=lambda _: "",
)
def test_fingerprints(one: Any, other: Any) -> None:
    x = np.ones((2, 3), "float32")
    again = jax.tree_util.Partial(one)  # the same mathematics, traced anew
    assert alike(one, again, x) and not alike(one, other, x)


def test_fingerprints_tell_shapes_and_types_apart():
    found = [
        fingerprint(jax.make_jaxpr(lambda x: x)(np.ones(shape, dtype)))
        for shape, dtype in (((2,), "float32"), ((2, 1), "float32"), ((2,), "int32"))
    ]
    assert len(set(found)) == 3


def test_fingerprints_know_functions_by_identity():
    """A canonical jaxpr holds none, but a raw one may: a call back into Python, a derivative."""

    def calling(function: Any) -> Any:
        return lambda x: jax.pure_callback(function, jax.ShapeDtypeStruct((2,), "float32"), x)

    def double(x: Any) -> Any:
        return 2 * x

    def triple(x: Any) -> Any:
        return 3 * x

    x = np.ones(2, "float32")
    closed = [jax.make_jaxpr(calling(f))(x) for f in (double, triple)]
    found = [fingerprint(c) for c in closed]
    assert found[0] != found[1] or found == [None, None]
    assert found[0] == fingerprint(closed[0])


def test_large_constants_are_not_compared(engine):
    large = np.zeros(MOST // 4 + 1, "float32")
    slots = [Slot("x", (), "float32", "data"), Slot("y", large.shape, "float32", "output")]
    programs = [trace("step", lambda v: [v[0] + large], slots[:1], slots[1:]) for _ in range(2)]
    assert [fingerprint(p.jaxpr) for p in programs] == [None, None]
    one, two = (engine.compile(p) for p in programs)
    assert one._executable is not two._executable and not engine._kept
    np.testing.assert_array_equal(two([np.float32(3)])[0], large + 3)


def test_donated_inputs_are_part_of_the_key(engine):
    slots = [Slot("x", (4,), "float32", "state"), Slot("y", (4,), "float32", "state")]
    made = trace("step", lambda v: [v[0] + 1], slots[:1], slots[1:])
    plain, giving, same = (engine.compile(made, donate) for donate in ((), ("state",), ("data",)))
    assert plain._executable is same._executable is not giving._executable
    given = engine.put(np.zeros(4, "float32"))
    plain([given])
    giving([given])
    assert given.is_deleted()
