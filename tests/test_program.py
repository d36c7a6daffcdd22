"""Programs: canonical form, random bits, layer paths, many steps in one call, engines' base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import jaxpr_as_fun

from carnyx.core.composite import composite
from carnyx.engines import Limitation, UnsupportedError, get_engine
from carnyx.program.canonical import canonicalize
from carnyx.program.loop import repeat
from carnyx.program.trace import Program, Slot, bodies, layer_path, operation_name, trace

# Calls that canonical form has no place for; composites are jit equations, checked apart.
WRAPPERS = {
    "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call",
    "custom_vjp_call", "custom_linear_solve", "stop_gradient", "name", "copy", "add_any",
}  # fmt: skip


def equations(jaxpr: Any) -> list[Any]:
    found = []
    for equation in jaxpr.eqns:
        found += [equation, *(e for body in bodies(equation) for e in equations(body.jaxpr))]
    return found


def raw(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its first argument, a key, given as words."""
    return lambda words, *rest: function(jax.random.wrap_key_data(words), *rest)


def words(seed: int) -> np.ndarray:
    return np.asarray(jax.random.key_data(jax.random.key(seed)))


def canonical(function: Callable[..., Any], *args: Any) -> Any:
    """The canonical jaxpr of a function; checks what every canonical jaxpr must satisfy."""
    closed = canonicalize(jax.make_jaxpr(function)(*args))
    for equation in equations(closed.jaxpr):
        name = equation.primitive.name
        assert name not in WRAPPERS and not name.startswith(("random_", "threefry"))
        assert name != "jit" or equation.params["name"].startswith("carnyx.")
        for atom in (*equation.invars, *equation.outvars):
            assert not getattr(atom.aval, "weak_type", False), equation
            assert not jax.dtypes.issubdtype(atom.aval.dtype, jax.dtypes.extended)
    return closed


# ---- values


@jax.custom_vjp
def _clipped_gradient(x: Any) -> Any:
    return jnp.sin(x)


_clipped_gradient.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (jnp.clip(g * x, -0.5, 0.5),))


def _scan(x: Any) -> Any:
    def cell(c: Any, row: Any) -> Any:
        return jax.nn.sigmoid(c + row), jnp.tanh(c)

    return lax.scan(cell, x[0], x)[1].sum()


def _while(x: Any) -> Any:
    return lax.while_loop(lambda c: c.sum() < 100, lambda c: jax.nn.relu(c) * 2 + 1, x)


def _cond(x: Any) -> Any:
    return lax.cond(x.sum() > 0, lambda v: jax.nn.gelu(v).sum(), lambda v: v.prod(), x)


def _remat(x: Any) -> Any:
    return jax.checkpoint(lambda v: jnp.sin(jnp.exp(v)).sum())(x)


CASES = {
    "relu gradient": jax.grad(lambda x: (jax.nn.relu(x) * x).sum()),
    "logsumexp gradient": jax.grad(lambda x: jax.nn.logsumexp(x)),
    "softplus second derivative": jax.vmap(jax.vmap(jax.grad(jax.grad(jax.nn.softplus)))),
    "custom_vjp": _clipped_gradient,
    "custom_vjp gradient": jax.grad(lambda x: _clipped_gradient(x).sum()),
    "scan": _scan,
    "scan gradient": jax.grad(_scan),
    "while": _while,
    "cond gradient": jax.grad(_cond),
    "remat gradient": jax.grad(_remat),
    "solve": lambda x: jnp.linalg.solve(x[:, :3] + 4 * jnp.eye(3), jnp.arange(3.0)),
    "no-ops": lambda x: lax.stop_gradient(x).astype("float32").reshape(3, 4).transpose(0, 1) + 1,
    "constants": lambda x: x * np.arange(12, dtype="float32").reshape(3, 4),
}


@pytest.mark.parametrize("name", CASES)
def test_canonical_form_has_the_same_values(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    closed = canonical(CASES[name], x)
    expected = jax.jit(CASES[name])(x)
    found = jax.jit(jaxpr_as_fun(closed))(x)[0]
    assert found.dtype == expected.dtype
    # 4 ulp: the same operations, which XLA may fuse in another order
    np.testing.assert_allclose(found, expected, rtol=5e-7, atol=1e-7)
    assert str(canonicalize(closed)) == str(closed), "canonical form is a fixed point"


def test_dead_code_and_no_ops_are_dropped() -> None:
    def wasteful(x: Any) -> Any:
        (jnp.sin(x) @ np.ones((4, 4), "float32")).sum()

        def body(c: Any, _: Any) -> Any:
            return (c[0] + 1, jnp.exp(c[1])), None

        (kept, _), _ = lax.scan(body, (x, x), None, length=3)
        return CASES["no-ops"](kept)

    closed = canonical(wasteful, np.ones((3, 4), "float32"))
    assert [e.primitive.name for e in closed.eqns] == ["scan", "add"]
    assert [e.primitive.name for e in equations(closed.jaxpr)] == ["scan", "add", "add"]
    assert not closed.consts


def test_tracing_twice_gives_the_same_program() -> None:
    def step(x: Any) -> Any:
        return jax.random.normal(jax.random.key(3), x.shape) * _scan(x)

    x = np.ones((3, 4), "float32")
    assert str(canonical(step, x)) == str(canonical(step, x))


# ---- random numbers


def names(closed: Any) -> list[str]:
    return [equation.primitive.name for equation in closed.eqns]


def test_a_transposed_product_is_the_product_of_the_factors_swapped() -> None:
    a, b = (np.random.default_rng(i).normal(size=(3, 4)).astype("f4") for i in range(2))
    for product in (lambda a, b: (a.T @ b).T, lambda a, b: (a @ b.T).T, lambda a, b: (b @ a.T).T):
        closed = canonical(product, a, b)
        assert names(closed)[-1] == "dot_general" and names(closed).count("dot_general") == 1
        np.testing.assert_allclose(jaxpr_as_fun(closed)(a, b)[0], product(a, b), rtol=1e-5)
    batched = canonical(lambda a, b: jnp.swapaxes(a @ b, 0, 2), a[None], b.T[None])
    assert names(batched)[-1] == "transpose"  # three axes: left as it was


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_of_halves_add_up_in_float32(dtype: str) -> None:
    x, w = (np.random.default_rng(i).normal(size=(64, 64)).astype(dtype) for i in range(2))
    closed = canonical(lambda x, w: jax.vjp(jnp.matmul, x, w)[1](x), x, w)
    products = [e for e in closed.eqns if e.primitive.name == "dot_general"]
    assert [e.outvars[0].aval.dtype for e in products] == ["float32"] * 2
    x64, w64 = x.astype("float64"), w.astype("float64")
    exact = (x64 @ w64.T, x64.T @ x64)
    for got, wanted in zip(jaxpr_as_fun(closed)(x, w), exact, strict=True):
        assert got.dtype == dtype
        # Half a unit for the one rounding, and the sum of 64 products in float32.
        rtol = 0.51 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(np.asarray(got, "f8"), wanted, rtol=rtol, atol=1e-4)


@pytest.mark.parametrize("rows", (1, 2))
def test_a_row_meets_a_tall_matrix_in_parts(rows: int) -> None:
    x, w = np.ones((rows, 4096), "f4"), np.random.default_rng(0).normal(size=(4096, 3))
    closed = canonical(jnp.matmul, x, w.astype("f4"))
    assert ("reduce_sum" in names(closed)) == (rows == 1)
    got = jaxpr_as_fun(closed)(x, w.astype("f4"))[0]
    np.testing.assert_allclose(got, x.astype("f8") @ w, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("width", (8, 16, 32))
def test_random_bits_are_those_of_jax(width: int) -> None:
    def bits(key: Any) -> list[Any]:
        shapes = ((), (1,), (7,), (0, 3), (3, 5, 2))
        return [jax.random.bits(key, shape, f"uint{width}") for shape in shapes]

    ours = jax.jit(jaxpr_as_fun(canonical(raw(bits), words(0))))
    for seed in (0, 123456789):
        for found, expected in zip(ours(words(seed)), bits(jax.random.key(seed)), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_random_bits_of_64_bits() -> None:
    with jax.enable_x64(True):
        closed = canonical(raw(lambda key: jax.random.bits(key, (3, 4), "uint64")), words(5))
        (found,) = jax.jit(jaxpr_as_fun(closed))(words(5))
        np.testing.assert_array_equal(found, jax.random.bits(jax.random.key(5), (3, 4), "uint64"))
        large = np.int64(-(2**40) - 3)
        seed = canonical(lambda s: jax.random.key_data(jax.random.key(s)), large)
        expected = jax.random.key_data(jax.random.key(large))
        np.testing.assert_array_equal(jaxpr_as_fun(seed)(large)[0], expected)


def _through_scan(key: Any) -> Any:
    def draw(carry: Any, own: Any) -> Any:
        carry, new = jax.random.split(carry)
        return carry, (jax.random.normal(own, (2,)), jax.random.uniform(new, ()), new)

    last, (a, b, keys) = lax.scan(draw, key, jax.random.split(key, (4,)))
    return a, b, jax.random.key_data(last), jax.random.key_data(keys)


def _through_while(key: Any) -> Any:
    def again(carry: Any) -> Any:
        return carry[0] + 1, jax.random.fold_in(carry[1], carry[0])

    return jax.random.bits(lax.while_loop(lambda c: c[0] < 5, again, (0, key))[1], (3,))


def _through_cond(key: Any) -> Any:
    left, right = jax.random.split(key)
    chosen = lax.cond(jax.random.bernoulli(key), lambda: left, lambda: right)
    return jax.random.bits(jnp.where(jax.random.bernoulli(left), chosen, key), (3,))


@composite("test_noise")
def _noise(key: Any, x: Any) -> tuple[Any, Any]:
    return x + jax.random.normal(key, x.shape), jax.random.fold_in(key, 1)


def _through_composite(key: Any) -> Any:
    y, key = _noise(key, jnp.zeros(3))
    return y, jax.random.bits(key, (2,))


KEYS = {
    "split": lambda key: jax.random.key_data(jax.random.split(key, (3, 2))),
    "split of many": lambda key: jax.random.key_data(
        jax.vmap(lambda k: jax.random.split(k, 3))(jax.random.split(key, 5))
    ),
    "bits of many": lambda key: jax.vmap(lambda k: jax.random.bits(k, (2, 3)))(
        jax.random.split(key, 4)
    ),
    "fold_in": lambda key: jax.random.key_data(jax.random.fold_in(key, jnp.int32(-7))),
    "fold_in of many": lambda key: jax.random.key_data(
        jax.vmap(jax.random.fold_in)(jax.random.split(key, 4), jnp.arange(4))
    ),
    "seed": lambda key: jax.random.key_data(jax.random.key(jnp.int32(-5))),
    "moved": lambda key: jax.random.key_data(jax.random.split(key, (3, 4)).T[1:, ::2].reshape(-1)),
    "taken": lambda key: jax.random.bits(jax.random.split(key, 6)[jnp.array([4])][0]),
    "joined": lambda key: jax.random.key_data(jnp.stack([key, jax.random.split(key)[1]])),
    "permutation": lambda key: jax.random.permutation(key, 20),
    "constant key": lambda key: jax.random.bits(_CONSTANT, (3,)),
    "old keys": lambda key: jax.random.bits(jax.random.PRNGKey(3), (3,)),
    "scan": _through_scan,
    "while": _through_while,
    "cond": _through_cond,
    "composite": _through_composite,
    "integers": lambda key: jax.random.randint(key, (9,), -3, 40),
}
_CONSTANT = jax.random.key(11)


@pytest.mark.parametrize("name", KEYS)
def test_keys_become_words(name: str) -> None:
    found = jax.jit(jaxpr_as_fun(canonical(raw(KEYS[name]), words(9))))(words(9))
    expected = jax.tree.leaves(jax.jit(KEYS[name])(jax.random.key(9)))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        if theirs.dtype == np.float32:  # 4 ulp: fused in another order; integers are exact
            np.testing.assert_allclose(ours, theirs, rtol=5e-7)
        else:
            np.testing.assert_array_equal(ours, theirs)


def test_gamma_variates_of_jax() -> None:
    def gamma(key: Any) -> Any:
        return jax.random.gamma(key, 2.5, (6,))

    found = jax.jit(jaxpr_as_fun(canonical(raw(gamma), words(2))))(words(2))[0]
    # 1e-6: a rejection loop of transcendental functions, fused in another order
    np.testing.assert_allclose(found, gamma(jax.random.key(2)), rtol=1e-6)


def test_keys_of_another_kind_are_refused() -> None:
    other = jax.random.key(0, impl="rbg")
    for make in (lambda: jax.random.key(0, impl="rbg"), lambda: jax.random.bits(other, (3,))):
        with pytest.raises(ValueError, match="Expected key<fry>"):
            canonicalize(jax.make_jaxpr(make)())


# ---- composites


@composite("test_pair")
def _pair(x: Any, unused: Any) -> tuple[Any, Any]:
    return jax.nn.relu(x), jnp.exp(x)


def test_composites_stay_whole() -> None:
    def body(c: Any, row: Any) -> Any:
        return _pair(c, row)[0] + row, None

    x = np.ones((3, 4), "float32")
    closed = canonical(lambda x: (_pair(x, x)[0], lax.scan(body, x[0], x)[0]), x)
    calls = [e for e in equations(closed.jaxpr) if e.primitive.name == "jit"]
    assert [operation_name(e) for e in calls] == ["carnyx.test_pair.v1"] * 2
    for call in calls:  # results and arguments that nobody uses are part of the signature
        assert len(call.invars) == 2 and len(call.outvars) == 2
        assert [e.primitive.name for e in call.params["jaxpr"].eqns] == ["max", "exp"]
    dead = canonical(lambda x: (_pair(x, x), x + 1)[1], x)
    assert [e.primitive.name for e in dead.eqns] == ["add"]


def test_derivatives_of_a_composite_are_none() -> None:
    x = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)
    derived = jax.grad(lambda x: _pair(x, x)[1].sum())
    assert {e.primitive.name for e in canonical(derived, x).eqns} <= {
        "broadcast_in_dim", "exp", "mul",
    }  # fmt: skip
    # 2 ulp: XLA's exp against the C library's
    np.testing.assert_allclose(jaxpr_as_fun(canonical(derived, x))(x)[0], np.exp(x), rtol=3e-7)
    assert "jit" not in str(canonical(jax.vmap(lambda x: _pair(x, x)), x))


# ---- Programs


def _slots(*shapes: tuple[int, ...], role: str = "data") -> list[Slot]:
    return [Slot(f"{role}{i}", shape, "float32", role) for i, shape in enumerate(shapes)]


def _layers_of(program: Program) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for equation, layer in program.equations():
        found.setdefault(operation_name(equation), set()).add(layer)
    return found


def test_equations_know_their_layer() -> None:
    def model(x: Any) -> Any:
        with jax.named_scope("model"):
            with jax.named_scope("dense"):
                x = jax.nn.relu(jnp.cos(x))
            with jax.named_scope("rnn"):
                x = lax.scan(lambda c, r: (_cell(c, r), None), x[0], x)[0]
            with jax.named_scope("noise"):
                x = x + jax.random.bits(jax.random.key(0), x.shape).astype("float32")
            with jax.named_scope("block"):
                x = jax.checkpoint(lambda v: jnp.sqrt(jnp.exp2(v)))(x)
            return x.sum()

    def _cell(c: Any, row: Any) -> Any:
        with jax.named_scope("cell"):
            return jnp.tanh(c) * row

    def step(values: list[Any]) -> list[Any]:
        return [*values, *jax.grad(lambda v: model(v[0]))(values)]

    shape = (3, 4)
    program = trace("train", step, _slots(shape), _slots(shape, shape, role="output"))
    layers = _layers_of(program)
    assert layers["sin"] == {"model/dense"}, "of the gradient of cos"
    assert layers["tanh"] == {"model/rnn/cell"}
    assert layers["scan"] == {"model/rnn"}
    assert layers["exp2"] == layers["optimization_barrier"] == {"model/block"}
    with_values = trace("predict", lambda v: [model(v[0])], _slots(shape), _slots((), role="log"))
    assert _layers_of(with_values)["shift_left"] == {"model/noise"}


def test_a_program_can_be_read() -> None:
    def dense(values: list[Any]) -> list[Any]:
        kernel, x = values
        with jax.named_scope("net"), jax.named_scope("dense"):
            return [jnp.tanh(x @ kernel)]

    inputs = [Slot("dense/kernel", (4, 2), "float32", "trainable"), *_slots((3, 4))]
    program = trace("predict", dense, inputs, _slots((3, 2), role="output"))
    assert str(program).splitlines() == [
        "Program predict: 2 inputs, 1 output, 2 equations",
        "  in  trainable float32[4, 2] dense/kernel",
        "  in  data      float32[3, 4] data0",
        "  out output    float32[3, 2] output0",
        "  net/dense: dot_general, tanh",
    ]


def test_slots_must_fit() -> None:
    with pytest.raises(ValueError, match="'x' has the unknown role 'weight'"):
        Slot("x", (), "float32", "weight")
    with pytest.raises(ValueError, match="its function has 1 output, but 2 slots name them"):
        trace("p", lambda v: v, _slots((3,)), _slots((3,), (3,), role="output"))
    with pytest.raises(ValueError, match=r"output slot 'output0' says float32 of shape \(4,\)"):
        trace("p", lambda v: v, _slots((3,)), _slots((4,), role="output"))
    assert trace("p", lambda v: v, _slots((3,)), lambda avals: _slots(avals[0].shape)).outputs


def test_layer_path_of_nested_gradients() -> None:
    def outer(x: Any) -> Any:
        with jax.named_scope("a"):
            return jax.grad(_inner)(x)

    def _inner(x: Any) -> Any:
        with jax.named_scope("b"):
            return jnp.sin(x)

    paths = {layer_path(e) for e in jax.make_jaxpr(jax.vmap(outer))(jnp.ones(2)).eqns}
    assert paths == {"a/b"}


# ---- many steps in one call

B, ROWS = 4, 10


def _training_step(traces: list[int]) -> Program:
    """Gradient descent on a noisy line, with a seed, a frozen scale, a log and predictions."""
    state = [
        Slot("kernel", (3, 1), "float32", "trainable"),
        Slot("scale", (), "float32", "state"),
        Slot("steps", (), "int32", "optimizer"),
        Slot("seed", (2,), "uint32", "seed"),
    ]
    data = [Slot("x", (B, 3), "float32", "data"), Slot("y", (B, 1), "float32", "data")]

    def step(values: list[Any]) -> list[Any]:
        traces.append(1)
        kernel, scale, steps, seed, x, y = values
        key, own = jax.random.split(jax.random.wrap_key_data(seed))
        x = x + 0.1 * jax.random.normal(own, x.shape)

        def loss(kernel: Any) -> Any:
            predicted = scale * x @ kernel
            return ((predicted - y) ** 2).mean(), predicted

        (value, predicted), gradient = jax.value_and_grad(loss, has_aux=True)(kernel)
        new = [kernel - 0.1 * gradient, steps + 1, jax.random.key_data(key)]
        return [*new, value, predicted]

    outputs = [state[0], *state[2:], Slot("loss", (), "float32", "log")]
    outputs.append(Slot("predicted", (B, 1), "float32", "output"))
    return trace("step", step, [*state, *data], outputs)


def _arrays() -> tuple[list[Any], list[Any], np.ndarray]:
    rng = np.random.default_rng(1)
    state = [rng.normal(size=(3, 1)).astype("float32"), np.float32(0.5), np.int32(0), words(4)]
    data = [rng.normal(size=(ROWS, 3)), rng.normal(size=(ROWS, 1))]
    order = rng.integers(0, ROWS, 6 * B).astype("int32")
    return state, [a.astype("float32") for a in data], order


def test_a_repeated_step_is_a_loop_of_steps() -> None:
    traces: list[int] = []
    step = _training_step(traces)
    loop = repeat(step, capacity=5, rows=ROWS, order_length=6 * B)
    assert len(traces) == 1, "the step's Python is not run again"
    one, many = (get_engine("xla").compile(program) for program in (step, loop))
    for start, count in ((0, 5), (3, 2), (5, 1), (0, 0)):
        state, data, order = _arrays()
        outputs = many([*state, *data, order, np.int32(start), np.int32(count)])
        logs, predictions = np.zeros(5, "float32"), np.zeros((5 * B, 1), "float32")
        for i in range(count):
            picked = order[(start + i) * B : (start + i + 1) * B]
            new = one([*state, *(a[picked] for a in data)])
            state = [new[0], state[1], *new[1:3]]
            logs[i], predictions[i * B : (i + 1) * B] = new[3], new[4]
        expected = [state[0], *state[2:], logs, predictions]
        for found, wanted in zip(outputs, expected, strict=True):
            # 1e-6: the same float32 operations, fused in another order
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_a_loop_compiles_once_for_every_count() -> None:
    loop = repeat(_training_step([]), capacity=5, rows=ROWS, order_length=6 * B)
    assert [s.path for s in loop.inputs[-3:]] == ["order", "start", "count"]
    assert [(s.path, s.shape) for s in loop.outputs[3:]] == [("loss", (5,)), ("predicted", (20, 1))]
    state, data, order = _arrays()
    compiled = jax.jit(loop)
    for count in range(4):
        compiled(*state, *data, order, np.int32(0), np.int32(count))
    assert compiled._cache_size() == 1


def test_a_loop_keeps_layers_and_composites() -> None:
    def step(values: list[Any]) -> list[Any]:
        with jax.named_scope("net/layer"):
            return [_pair(values[0], values[0])[0]]

    one = trace("predict", step, _slots((B, 2)), _slots((B, 2), role="output"))
    loop = repeat(one, capacity=3, rows=ROWS, order_length=12)
    assert _layers_of(loop)["carnyx.test_pair.v1"] == {"net/layer"}
    x = np.random.default_rng(0).normal(size=(ROWS, 2)).astype("float32")
    order = np.arange(12, dtype="int32") % ROWS
    (found,) = loop(x, order, jnp.int32(0), jnp.int32(3))
    np.testing.assert_array_equal(found, np.maximum(x[order], 0))


def test_what_cannot_be_repeated() -> None:
    def program(inputs: list[Slot], outputs: list[Slot]) -> Program:
        return trace("p", lambda v: [jnp.zeros(s.shape) for s in outputs], inputs, outputs)

    state, data = _slots((2,), role="state"), _slots((B, 2))
    for inputs, outputs, message in (
        (state, state, "at least one data slot"),
        ([*data, *state], state, "state slots, then at least one data slot"),
        ([*state, *data, *_slots((3, 2))], state, "the same batch size first"),
        ([*state, *data], _slots((3,), role="state"), "in the order in which they are inputs"),
        ([*state, *data], [*_slots((), role="log"), *state], "then logs and outputs"),
    ):
        with pytest.raises(ValueError, match=message):
            repeat(program(inputs, outputs), 2, ROWS, 8)


# ---- engines


def test_engines_are_found_by_name() -> None:
    assert get_engine("xla") is get_engine("xla")
    with pytest.raises(ValueError, match="Unknown engine 'xlaa'. Did you mean 'xla'?"):
        get_engine("xlaa")


def test_the_engine_puts_gets_and_runs() -> None:
    engine = get_engine("xla")
    native = engine.put(np.arange(3, dtype="float32"))
    assert engine.put(native) is native
    slots = [Slot("w", (3,), "float32", "trainable"), *_slots((3,))]
    program = trace("step", lambda v: [v[0] + v[1]], slots, slots[:1])
    assert "  i/o trainable float32[3] w" in str(program).splitlines()
    run, giving = engine.compile(program), engine.compile(program, donate=["trainable"])
    for _ in range(2):
        np.testing.assert_array_equal(engine.get(run([native, native])[0]), [0, 2, 4])
    given = engine.put(np.ones(3, "float32") + 1)
    np.testing.assert_array_equal(engine.get(giving([given, native])[0]), [2, 3, 4])
    assert given.is_deleted() and not native.is_deleted()


def test_what_an_engine_cannot_do_is_said() -> None:
    limitation = Limitation("abacus", "sort", "long arrays", "It has ten wires.")
    error = UnsupportedError(limitation, "net/top")
    assert error.limitation is limitation
    assert str(error).startswith("The abacus engine does not support sort: long arrays. It has")
    assert "in layer 'net/top'" in str(error)
