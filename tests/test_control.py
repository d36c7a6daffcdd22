"""Control flow: results against Keras and formulas, state against the same layers in a loop."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers, ops
from carnyx.core.state import pure, value_and_grad

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6, 3)).astype("float32")  # steps, B, C


class Busy(carnyx.Layer):
    """Everything that holds state: weights, dropout, moving statistics, a metric, losses."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(
            3, "tanh", kernel_initializer=carnyx.initializers.GlorotUniform(1)
        )
        self.norm = layers.BatchNormalization()
        self.drop = layers.Dropout(0.5, seed=2)
        self.mean = carnyx.metrics.Mean()

    def build(self, input_shape: Any) -> None:
        for layer in (self.dense, self.norm):
            layer.build(input_shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        out = self.drop(self.norm(self.dense(x)))
        self.mean.update_state(out)
        self.add_loss(jnp.mean(out**2))
        self.add_loss(jnp.float32(0.5))
        return out


def once(layer: Any, x: Any) -> Any:
    return layer(x, training=True)


def by_loop(layer: Any, x: Any) -> Any:
    carry = jnp.zeros(x.shape[1:])
    for step in x:
        carry = once(layer, carry + step)
    return carry


def by_scan(layer: Any, x: Any) -> Any:
    def step(carry, row):
        carry = once(layer, carry + row)
        return carry, carry

    carry, all_of_them = ops.scan(step, jnp.zeros(x.shape[1:]), x)
    return carry + 0 * all_of_them[-1]


def by_fori(layer: Any, x: Any) -> Any:
    start = jnp.zeros(x.shape[1:])
    return ops.fori_loop(0, len(x), lambda i, c: once(layer, c + jnp.asarray(x)[i]), start)


def by_while(layer: Any, x: Any) -> Any:
    def body(i, c):
        return i + 1, once(layer, c + jnp.asarray(x)[i])

    return ops.while_loop(lambda i, c: i < len(x), body, (0, jnp.zeros(x.shape[1:])))[1]


def by_remat(layer: Any, x: Any) -> Any:
    step = carnyx.remat(lambda c, row: once(layer, c + row))
    carry = jnp.zeros(x.shape[1:])
    for row in x:
        carry = step(carry, row)
    return carry


def by_jit(layer: Any, x: Any) -> Any:
    step = carnyx.jit(lambda c, row: once(layer, c + row))
    carry = jnp.zeros(x.shape[1:])
    for row in x:
        carry = step(carry, row)
    return carry


def by_nested(layer: Any, x: Any) -> Any:
    """A scan of a branch of a loop of one step."""

    def step(carry, row):
        def run():
            return ops.fori_loop(0, 1, lambda _, c: once(layer, c + row), carry)

        return ops.cond(jnp.sum(row) < 1e9, run, lambda: carry), None

    return ops.scan(step, jnp.zeros(x.shape[1:]), x)[0]


WAYS = [by_scan, by_fori, by_while, by_remat, by_jit, by_nested]


def outcome(way: Any, mode: str) -> list[Any]:
    """The value, the losses, the gradients and all state after a run of a new layer."""
    layer = Busy(name="busy")
    layer.build((None, 3))
    variables = [*layer.variables, *layer.mean.variables]
    trained = layer.trainable_variables if way is not by_while else []

    def loss(x):
        out = way(layer, x)
        return jnp.sum(out**2) + sum(layer.losses), out

    def run(x):
        if not trained:
            return loss(x), []
        return value_and_grad(loss, trained, has_aux=True)(x)

    if mode == "eager":
        found, state = run(X), [v.numpy() for v in variables]
    else:
        found, state = jax.jit(pure(run, variables))([v.value for v in variables], X)
    (value, out), gradients = found
    return [value, out, *gradients, *state]


@pytest.fixture(scope="module")
def expected() -> Any:
    return outcome(by_loop, "compiled")


CASES = [(way, "compiled") for way in WAYS if way not in (by_jit, by_remat)] + [(by_scan, "eager")]
SLOW = [
    pytest.param(way, mode, marks=pytest.mark.slow)
    for way, mode in ((by_jit, "compiled"), (by_jit, "eager"), (by_remat, "compiled"))
]


@pytest.mark.parametrize(("way", "mode"), [*CASES, *SLOW])
def test_state_inside_is_as_in_a_python_loop(way: Any, mode: str, expected: Any) -> None:
    found = outcome(way, mode)
    if way is by_while:  # no gradients go back through it
        found[2:2] = expected[2:6]
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_map_keeps_the_order_of_draws_and_updates() -> None:
    one, two = (Busy(name=n) for n in ("one", "two"))
    for layer in (one, two):
        layer.build((None, 3))
    mapped = ops.map(lambda row: once(one, row), X)
    np.testing.assert_allclose(mapped, [once(two, row) for row in X], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.mean.result(), two.mean.result(), rtol=1e-5)
    np.testing.assert_allclose(one.norm.moving_mean, two.norm.moving_mean, rtol=1e-5)


def test_a_layer_is_built_inside() -> None:
    layer = layers.Dense(3, kernel_initializer="ones")
    last = ops.scan(lambda c, x: (layer(c + x), None), jnp.zeros((6, 3)), X)[0]
    assert layer.built and last.shape == (6, 3)
    assert isinstance(layer.kernel.value, jax.Array) and layer.kernel.numpy().sum() == 9


@pytest.mark.parametrize("known", [False, True])
def test_branches_change_state_of_their_own(known: bool) -> None:
    """Each branch has other Variables and losses; only the chosen one's change."""

    class Count(carnyx.Layer):
        def __init__(self, name: str) -> None:
            super().__init__(name=name)
            self.calls = carnyx.Variable(0, name="calls", trainable=False)

        def call(self, x: Any) -> Any:
            self.calls.assign_add(1)
            self.add_loss(jnp.sum(x))
            return x + 1.0

    a, b, c = (Count(n) for n in "abc")

    def run(index: Any, x: Any) -> Any:
        out = ops.switch(index, [a, lambda x: b(c(x)), lambda x: x], x)
        out = ops.cond(index == 0, lambda: a(out), lambda: out)
        return out, [sum(layer.losses, start=jnp.float32(0)) for layer in (a, b, c)]

    calls = [layer.calls for layer in (a, b, c)]
    step = pure(run, calls) if known else jax.jit(pure(run, calls))
    wanted = {
        -1: ([1, 0, 0], 2.0, [2.0, 0, 0]),
        0: ([2, 0, 0], 3.0, [2.0 + 4.0, 0, 0]),
        1: ([0, 1, 1], 3.0, [0, 4.0, 2.0]),
        9: ([0, 0, 0], 1.0, [0, 0, 0]),
    }
    for index, (counts, value, losses) in wanted.items():
        (out, added), new = step([0, 0, 0], index, jnp.ones(2))
        assert [int(n) for n in new] == counts and float(out[0]) == value
        np.testing.assert_allclose(added, losses)


def test_a_condition_may_draw() -> None:
    """As `while draw() < 0.9:` in Python: the generator moves once more than the body runs."""

    def count(seeds: Any, loop: Any) -> tuple[int, list[int]]:
        return int(loop(seeds)), seeds.state.numpy().tolist()

    def draw(seeds: Any) -> Any:
        return carnyx.random.uniform((), seed=seeds)

    def plain(seeds: Any) -> int:
        steps = 0
        while draw(seeds) < 0.9:
            steps += 1
        return steps

    def looped(seeds: Any) -> Any:
        return ops.while_loop(lambda i: draw(seeds) < 0.9, lambda i: i + 1, 0)

    found = [count(carnyx.random.SeedGenerator(3), loop) for loop in (plain, looped)]
    assert found[0] == found[1] and found[0][0] > 2


def test_undeclared_state_is_refused_by_name() -> None:
    hidden = carnyx.Variable(0.0, name="hidden")

    def step(x):
        return ops.fori_loop(0, 3, lambda i, v: v + hidden.assign_add(1.0), x)

    with pytest.raises(ValueError, match="'hidden' was assigned inside a pure function"):
        pure(step, [])([], 1.0)
    assert float(step(0.0)) == 6.0 and float(hidden) == 3.0


def test_variables_made_at_each_run_are_refused() -> None:
    def step(i, x):
        return x + carnyx.Variable(1.0).assign_add(1.0)

    with pytest.raises(ValueError, match="makes new Variables at each run"):
        ops.fori_loop(0, 3, step, 0.0)


class Loops(carnyx.Layer):
    """A user's layer whose call has a scan, a branch and recomputation."""

    def __init__(self, plain: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plain = plain
        self.inner = layers.Dense(3, "tanh", kernel_initializer=carnyx.initializers.HeNormal(1))
        self.norm, self.drop = layers.BatchNormalization(), layers.Dropout(0.3, seed=4)

    def call(self, x: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            out = self.drop(self.norm(self.inner(carry + row)))
            self.add_loss(0.01 * jnp.mean(out**2))
            return out, out

        rows, carry = jnp.moveaxis(x, 1, 0), jnp.zeros_like(x[:, 0])
        if self.plain:
            for row in rows:
                carry, _ = step(carry, row)
            return carry
        carry = ops.scan(carnyx.remat(step), carry, rows)[0]
        return ops.cond(jnp.sum(carry) > -1e9, lambda: carry, lambda: -carry)


@functools.cache
def fitted(plain: bool, engine: str) -> Any:
    model = carnyx.Sequential([carnyx.Input((3, 3)), Loops(plain), layers.Dense(1, "tanh")])
    values = [0.1 * (1 + np.arange(w.size).reshape(w.shape) % 3) for w in model.weights]
    model.set_weights(values)
    model.compile(carnyx.optimizers.SGD(0.1), "mse", engine=engine)
    x = np.random.default_rng(1).normal(size=(16, 3, 3)).astype("float32")
    log = model.fit(x, x[:, 0, :1], batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return [log["loss"], *model.get_weights()]


@pytest.mark.parametrize("engine", ["xla", pytest.param("numpy", marks=pytest.mark.slow)])
def test_fit_through_a_scan_is_fit_through_a_loop(engine: str) -> None:
    for a, b in zip(fitted(False, engine), fitted(True, "xla"), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


# ---- vectorized_map


def test_elements_have_noise_of_their_own() -> None:
    seeds = carnyx.random.SeedGenerator(1)

    def noisy(row):
        return carnyx.random.uniform((3,), seed=seeds), carnyx.random.uniform((3,), seed=seeds)

    for run in (noisy, carnyx.jit(noisy)):
        first, second = ops.vectorized_map(run, X)
        numbers = np.concatenate([first, second]).ravel()
        assert len(np.unique(numbers)) == len(numbers)
    assert seeds.state.numpy().tolist() == [1, 4]


def test_elements_share_what_they_read_and_metrics_count_all() -> None:
    one, two = (Busy(name=n) for n in ("one", "two"))
    for layer in (one, two):
        layer.build((None, 3))
    found = carnyx.jit(lambda x: (ops.vectorized_map(one, x), one.losses))(X)
    rows = [two(row) for row in X]
    np.testing.assert_allclose(found[0], rows, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one.mean.result(), two.mean.result(), rtol=1e-5)
    np.testing.assert_allclose(sum(found[1]), sum(np.mean(r**2) + 0.5 for r in rows), rtol=1e-5)


def test_state_that_differs_by_element_is_refused_or_combined() -> None:
    def run(aggregation: str, start: float = 1.0) -> Any:
        v = carnyx.Variable(start, aggregation=aggregation, name="v")
        out = carnyx.vmap(lambda x: v.assign_add(x) * 2)(jnp.array([1.0, 2.0, 6.0]))
        assert out.tolist() == [4.0, 6.0, 14.0]
        return float(v)

    assert (run("sum"), run("mean"), run("only_first_replica")) == (10.0, 4.0, 2.0)
    with pytest.raises(ValueError, match=r"vmap: each element .* \['v'\]"):
        run("none")
    same = carnyx.Variable(0)
    carnyx.vmap(lambda x: same.assign_add(1) * x)(jnp.ones(3))
    assert int(same) == 1
    norm = layers.BatchNormalization(name="bn")
    norm.build((None, 3))
    with pytest.raises(ValueError, match="bn/moving_mean"):
        ops.vectorized_map(lambda row: norm(row, training=True), X)
    with pytest.raises(ValueError, match="out_axes"):
        carnyx.vmap(lambda x: x, out_axes=None)(jnp.ones(3))


# ---- results, against Keras and formulas


A = np.arange(6.0, dtype="float32").reshape(2, 3)

RESULTS: dict[str, Any] = {
    "scan": lambda o: o.scan(lambda c, a: (c + a, c * a), o.zeros(3), A),
    "scan-length": lambda o: o.scan(lambda c, _: (c + 1, c), o.zeros(()), length=3),
    "scan-dict-reverse": lambda o: o.scan(
        lambda c, a: (c + a["a"], {"b": c}), o.zeros(()), {"a": A[0]}, reverse=True, unroll=2
    ),
    "scan-tuple": lambda o: o.scan(lambda c, a: (c + a[0], a[1]), o.zeros(()), (A[0], A[1])),
    "scan-none": lambda o: o.scan(lambda c, a: (c + a, None), o.zeros(()), A[0], unroll=True),
    "while-single": lambda o: o.while_loop(lambda i: i < 5, lambda i: i + 1, 0),
    "while-tuple": lambda o: o.while_loop(lambda i: i < 5, lambda i: (i + 1,), (0,)),
    "while-list-limit": lambda o: o.while_loop(
        lambda i, j: i < 5, lambda i, j: [i + 1, j * 2.0], [0, A], maximum_iterations=2
    ),
    "while-dict": lambda o: o.while_loop(
        lambda d: d["a"] < 5, lambda d: {"a": d["a"] + 1}, {"a": 0}
    ),
    "fori": lambda o: o.fori_loop(1, 4, lambda i, v: v * i, A),
    "cond": lambda o: o.cond(True, lambda: 1, lambda: 2),
    "cond-array": lambda o: o.cond(o.sum(A) < 0, lambda: {"a": A}, lambda: {"a": A * 2}),
    "switch": lambda o: o.switch(1, [lambda a: a, lambda a: -a], A),
    "switch-high": lambda o: o.switch(7, [lambda a: a, lambda a: -a], 2.0),
    "switch-low": lambda o: o.switch(-3, [lambda a: a, lambda a: -a], 2.0),
    "map": lambda o: o.map(lambda a: (a["q"] * 2, o.sum(a["q"])), {"q": A}),
    "vectorized_map": lambda o: o.vectorized_map(lambda a: a[0] + o.sum(a[1]), [A, A]),
    "associative_scan": lambda o: o.associative_scan(
        lambda a, b: (a[0] + b[0], a[1] * b[1]), (A, A), axis=1, reverse=True
    ),
    "vectorize": lambda o: o.vectorize(lambda a, b: a + b)(A, np.ones((4, 1, 3), "float32")),
    "vectorize-signature": lambda o: o.vectorize(
        lambda a, b: (a @ b, o.sum(b)), signature="(m,n),(n)->(m),()"
    )(A, np.ones((4, 3), "float32")),
    "vectorize-one": lambda o: o.vectorize(lambda a: a * 2, signature="(n)->(n)")(A[0]),
    "vectorize-excluded": lambda o: o.vectorize(lambda a, b, c: a * b + c, excluded={1, "c"})(
        A, 3.0, c=2.0
    ),
    "jvp": lambda o: o.jvp(lambda a, b: a**2 * b, (A, A), (A, 2 * A)),
    "jvp-aux": lambda o: o.jvp(lambda a: (a**2, a + 1), [A], [A], has_aux=True),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_keras_s(name: str) -> None:
    from keras import ops as theirs

    ours, expected = RESULTS[name](ops), RESULTS[name](theirs)
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)


SYMBOLIC: dict[str, Any] = {
    "scan": lambda x: ops.scan(lambda c, a: (c + a, c), x[0], x)[1],
    "while": lambda x: ops.while_loop(lambda v: ops.sum(v) < 9, lambda v: v + 1, x),
    "fori": lambda x: ops.fori_loop(0, 3, lambda i, v: v * 2, x),
    "cond": lambda x: ops.cond(ops.sum(x) > 0, lambda: 1.0, lambda: 2.0) + x,
    "switch": lambda x: ops.switch(1, [lambda v: v, lambda v: -v], x),
    "map": lambda x: ops.map(lambda a: a * 2, x),
    "vectorized_map": lambda x: ops.vectorized_map(lambda a: a * 2, x),
    "associative_scan": lambda x: ops.associative_scan(lambda a, b: a + b, x),
    "vectorize": lambda x: ops.vectorize(lambda a: a * 2)(x),
    "custom_gradient": lambda x: ops.custom_gradient(lambda x: (x * 3, lambda g: g))(x),
    "jvp": lambda x: ops.jvp(lambda a: a**2, (x,), (x,))[1],
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_nodes_of_a_graph(name: str) -> None:
    inputs = carnyx.Input((3,))
    model = carnyx.Model(inputs, SYMBOLIC[name](inputs))
    assert model.output_shape == (None, 3)
    np.testing.assert_allclose(model(A), SYMBOLIC[name](jnp.asarray(A)), rtol=1e-6)


def test_a_gradient_of_ones_own() -> None:
    calls = carnyx.Variable(0)

    @ops.custom_gradient
    def product(x, y):
        calls.assign_add(1)

        def rule(*args, upstream=None):
            (upstream,) = args if upstream is None else (upstream,)
            return upstream["p"] * 10.0, upstream["p"] * x

        return {"p": x * y}, rule

    def run(x, y):
        return product(x, y)["p"] * 2

    assert float(run(3.0, 4.0)) == 24.0 and int(calls) == 1
    value, gradients = carnyx.value_and_grad(run, argnums=(0, 1))(3.0, 4.0)
    assert (float(value), *map(float, gradients)) == (24.0, 20.0, 6.0) and int(calls) == 2


def test_a_rule_gives_no_gradient_of_what_is_read() -> None:
    w, scale = carnyx.Variable(2.0, name="w"), carnyx.Variable(3.0, trainable=False)
    scaled = ops.custom_gradient(lambda x: (w * x * scale, lambda g: g * 7.0))
    assert float(carnyx.grad(scaled)(1.0)) == 7.0
    with pytest.raises(ValueError, match=r"reads the Variables \['w'\].*Pass their values"):
        carnyx.grad(lambda: scaled(1.0), [w])()
    through = ops.custom_gradient(lambda x, w: (w * x, lambda g: (g, g * 5.0)))
    assert float(carnyx.grad(lambda: through(1.0, w), [w])()[0]) == 5.0


MISTAKES: dict[str, tuple[Any, str]] = {
    "scan f": (lambda: ops.scan(3, 0.0, A), "`f` is a function"),
    "scan length": (lambda: ops.scan(lambda c, x: (c, x), 0.0), "pass `length`"),
    "scan unroll": (lambda: ops.scan(lambda c, x: (c, x), 0.0, A, unroll=0), "unroll"),
    "scan disagreement": (lambda: ops.scan(lambda c, x: (c, x), 0.0, A, length=5), "length"),
    "while body": (
        lambda: ops.while_loop(lambda i: i < 9, lambda i: 3 * i, (1,)),
        r"a tuple of 1, and `body` returned .*\(x,\)",
    ),
    "cond": (lambda: ops.cond(True, None, None), "`true_fn` is a function"),
    "cond shape": (lambda: ops.cond(A > 0, lambda: 1, lambda: 2), r"shape \(2, 3\).*ops.where"),
    "switch": (lambda: ops.switch(0, []), "empty"),
    "signature": (lambda: ops.vectorize(lambda a: a, signature="(n"), "not a signature"),
    "sizes": (
        lambda: ops.vectorize(lambda a, b: a, signature="(n),(n)->()")(A, A[:, :2]),
        "axis 'n' has the sizes 3 and 2",
    ),
    "count": (lambda: ops.vectorize(lambda a: a, signature="(n)->(n)")(A, A), "2 came"),
    "jvp": (lambda: ops.jvp(lambda a: a, A, A), "`primals` is a tuple"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(name: str) -> None:
    call, message = MISTAKES[name]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_nothing_and_one() -> None:
    empty = np.zeros((0, 3), "float32")
    assert ops.map(lambda a: a.sum(), empty).shape == (0,)
    assert ops.vectorized_map(lambda a: a.sum(), empty).shape == (0,)
    assert ops.vectorize(lambda a: a * 2)(empty).shape == (0, 3)
    assert float(ops.scan(lambda c, x: (c + x, None), 1.0, empty[:, 0])[0]) == 1.0
    assert int(ops.fori_loop(3, 1, lambda i, v: v + 1, 5)) == 5
