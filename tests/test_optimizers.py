"""Optimizers: each rule against a NumPy loop of its formula and against Keras, and what they share.

Every test of rules runs over the one table `RULES`.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import carnyx
from carnyx import optimizers
from carnyx.core.state import pure

RATE = 0.05
SHAPES = ((4, 3), (3,))
_rng = np.random.default_rng(0)
START = [_rng.normal(size=s).astype("float32") for s in SHAPES]
GRADIENTS = [[_rng.normal(size=s).astype("float32") for s in SHAPES] for _ in range(10)]


# ---- the formulas, in float64: a generator's `send(g)` gives the next w


def _sgd(w, momentum=0.0, nesterov=False):
    v = 0
    while True:
        g = yield w
        v = momentum * v - RATE * g
        w = w + (momentum * v - RATE * g if nesterov else v)


def _rmsprop(w, rho=0.9, momentum=0.0, centered=False):
    v = mean = u = 0
    while True:
        g = yield w
        v, mean = rho * v + (1 - rho) * g**2, rho * mean + (1 - rho) * g
        u = momentum * u + RATE * g / np.sqrt(v - centered * mean**2 + 1e-7)
        w = w - u


def _adam(w, amsgrad=False, decay=0.0, beta_1=0.9, beta_2=0.999):
    m = v = top = t = 0
    while True:
        g = yield w
        t += 1
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        top = np.maximum(top, v) if amsgrad else v
        w = w - RATE * decay * w
        # epsilon where Keras has it: beside sqrt(v), before the correction of the start
        correction = np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        w = w - RATE * correction * m / (np.sqrt(top) + 1e-7)


def _adamax(w, beta_1=0.9, beta_2=0.999):
    m = u = t = 0
    while True:
        g = yield w
        t += 1
        m, u = beta_1 * m + (1 - beta_1) * g, np.maximum(beta_2 * u, abs(g))
        w = w - RATE / (1 - beta_1**t) * m / (u + 1e-7)


def _nadam(w, beta_1=0.9, beta_2=0.999):
    m = v = t = 0
    product = 1.0
    while True:
        g = yield w
        t += 1
        now, following = (beta_1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
        product *= now
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        ahead = following * m / (1 - product * following) + (1 - now) * g / (1 - product)
        w = w - RATE * ahead / (np.sqrt(v / (1 - beta_2**t)) + 1e-7)


def _lamb(w, beta_1=0.9, beta_2=0.999):
    m = v = t = 0
    while True:
        g = yield w
        t += 1
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        r = m / (1 - beta_1**t) / (np.sqrt(v / (1 - beta_2**t)) + 1e-7)
        w = w - RATE * np.linalg.norm(w) / np.linalg.norm(r) * r


def _adagrad(w):
    s = 0.1
    while True:
        g = yield w
        s = s + g**2
        w = w - RATE * g / np.sqrt(s + 1e-7)


def _adadelta(w, rho=0.95):
    s = x = 0
    while True:
        g = yield w
        s = rho * s + (1 - rho) * g**2
        d = np.sqrt(x + 1e-7) / np.sqrt(s + 1e-7) * g
        x = rho * x + (1 - rho) * d**2
        w = w - RATE * d


def _lion(w, beta_1=0.9, beta_2=0.99):
    m = 0
    while True:
        g = yield w
        w = w - RATE * np.sign(beta_1 * m + (1 - beta_1) * g)
        m = beta_2 * m + (1 - beta_2) * g


def _ftrl(w, l1=0.0, l2=0.0, shrinkage=0.0, beta=0.0):
    n, z = 0.1, 0
    while True:
        g = yield w
        sigma = (np.sqrt(n + g**2) - np.sqrt(n)) / RATE
        z, n = z + g + 2 * shrinkage * w - sigma * w, n + g**2
        rate = (beta + np.sqrt(n)) / RATE + 2 * l2
        w = np.where(abs(z) <= l1, 0, -(z - np.sign(z) * l1) / rate)


def _adafactor(w):
    r = c = v = t = 0
    while True:
        g = yield w
        t += 1
        decay, s = 1 - t**-0.8, g**2 + 1e-30
        if w.ndim == 2:
            r = decay * r + (1 - decay) * s.mean(axis=1)
            c = decay * c + (1 - decay) * s.mean(axis=0)
            v = np.outer(r, c) / r.mean()
        else:
            v = decay * v + (1 - decay) * s
        u = g / np.sqrt(v)
        u = u / max(1, np.sqrt((u**2).mean()))
        w = w - max(1e-3, np.sqrt((w**2).mean())) * min(RATE, t**-0.5) * u


def _muon(
    w, momentum=0.95, nesterov=True, rms_rate: float | None = 0.2, decay=0.004, exclude=False
):
    """Matrices; the rest is Adam with its own decay of 0.004."""
    if w.ndim != 2 or exclude:
        yield from _adam(w, decay=0.004)
    m = 0
    while True:
        g = yield w
        w = w - RATE * decay * w
        m = momentum * m + g
        x = g + momentum * m if nesterov else m
        # a polynomial in the singular values alone: a s + b s^3 + c s^5, five times
        u, s, v = np.linalg.svd(x / (np.linalg.norm(x) + 1e-7), full_matrices=False)
        for _ in range(5):
            s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
        scale = 1 if rms_rate is None else np.sqrt(max(w.shape)) * rms_rate
        w = w - RATE * scale * (u * s) @ v


def schedule_free(w, beta_1=0.9, beta_2=0.999, epsilon=1e-8, warmup=0, decay=0.0, seen=None):
    """`seen` gets every mean x."""
    x, z, y, v, t = w, w, w, 0, 0
    while True:
        g = yield y
        t += 1
        # Keras decays y, from which it then finds x: x takes the whole of the decay
        x = x - RATE * decay * y / beta_1
        v = beta_2 * v + (1 - beta_2) * g**2
        rate = RATE * min(1, t / warmup) if warmup else RATE
        z = z - rate * g / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
        x = x + (z - x) / t
        if seen is not None:
            seen.append(x)
        y = (1 - beta_1) * z + beta_1 * x


_REGULARIZED = {
    "l1_regularization_strength": 0.5,
    "l2_regularization_strength": 0.1,
    "l2_shrinkage_regularization_strength": 0.05,
    "beta": 0.2,
}
# class, arguments, formula
RULES = (
    ("SGD", {}, _sgd),
    ("SGD", {"momentum": 0.9}, lambda w: _sgd(w, 0.9)),
    ("SGD", {"momentum": 0.9, "nesterov": True}, lambda w: _sgd(w, 0.9, True)),
    ("RMSprop", {}, _rmsprop),
    ("RMSprop", {"momentum": 0.5, "rho": 0.8}, lambda w: _rmsprop(w, 0.8, 0.5)),
    ("RMSprop", {"centered": True}, lambda w: _rmsprop(w, centered=True)),
    ("Adam", {}, _adam),
    ("Adam", {"amsgrad": True, "beta_2": 0.5}, lambda w: _adam(w, True, beta_2=0.5)),
    ("AdamW", {"weight_decay": 0.1}, lambda w: _adam(w, decay=0.1)),
    ("Adadelta", {}, _adadelta),
    ("Adagrad", {}, _adagrad),
    ("Adamax", {}, _adamax),
    ("Adafactor", {}, _adafactor),
    ("Nadam", {}, _nadam),
    ("Ftrl", {}, _ftrl),
    ("Ftrl", _REGULARIZED, lambda w: _ftrl(w, 0.5, 0.1, 0.05, 0.2)),
    ("Lion", {}, _lion),
    ("Lamb", {}, _lamb),
    ("Muon", {}, _muon),
    (
        "Muon",
        {"nesterov": False, "rms_rate": None, "momentum": 0.5, "weight_decay": 0.1},
        lambda w: _muon(w, 0.5, False, None, 0.1),
    ),
    ("Muon", {"exclude_layers": ["w0"]}, lambda w: _muon(w, exclude=True)),
    ("ScheduleFreeAdamW", {}, schedule_free),
    (
        "ScheduleFreeAdamW",
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "warmup_steps": 4, "weight_decay": 0.1},
        lambda w: schedule_free(w, 0.5, 0.9, 1e-3, 4, 0.1),
    ),
)
by_rule = pytest.mark.parametrize(
    ("name", "kwargs", "formula"), RULES, ids=[f"{n}-{'-'.join(map(str, k))}" for n, k, _ in RULES]
)
SHARED = (
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 0.7},
    {"weight_decay": 0.1},
    {"loss_scale_factor": 8.0},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 3},
    {
        "gradient_accumulation_steps": 2,
        "use_ema": True,
        "ema_overwrite_frequency": 2,
        "weight_decay": 0.1,
        "clipnorm": 1.0,
    },
)
by_shared = pytest.mark.parametrize("shared", SHARED, ids=lambda s: "-".join(s))


def make(module, name: str, kwargs: dict, rate=RATE):
    """(optimizer, its variables to train), built."""
    params = [module.Variable(a, name=f"w{i}") for i, a in enumerate(START)]
    optimizer = getattr(module.optimizers, name)(rate, **kwargs)
    optimizer.build(params)
    return optimizer, params


def compiled(optimizer, params):
    """A function (values, gradients) -> values, one compiled update of all variables."""
    step = pure(lambda g: optimizer.apply(g, params), [*params, *optimizer.variables])
    return jax.jit(lambda values, g: step(values, g)[1])


def run(name: str, kwargs: dict, rate=RATE):
    """All values after ten compiled updates."""
    optimizer, params = make(carnyx, name, kwargs, rate)
    step, values = compiled(optimizer, params), [v.value for v in [*params, *optimizer.variables]]
    for gradients in GRADIENTS:
        values = step(values, gradients)
    return values


def run_keras(name: str, kwargs: dict, rate=RATE):
    optimizer, params = make(keras, name, kwargs, rate)
    step = jax.jit(optimizer.stateless_apply)
    weights, state = [v.value for v in params], [v.value for v in optimizer.variables]
    for gradients in GRADIENTS:
        weights, state = step(state, [jnp.asarray(g) for g in gradients], weights)
    return [*weights, *state]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for value, expected in zip(ours, theirs, strict=True):
        # float32: sums of ten steps, some of them with a logarithm's last bit
        np.testing.assert_allclose(value, expected, rtol=2e-6, atol=1e-6)


@by_rule
def test_formula(name: str, kwargs: dict, formula):
    values = run(name, kwargs)
    for index, start in enumerate(START):
        loop = formula(start.astype("float64"))
        next(loop)
        for gradients in GRADIENTS:
            expected = loop.send(gradients[index].astype("float64"))
        # 1 - 0.999^t in float32 is known to 6e-5 when t = 1
        np.testing.assert_allclose(values[index], expected, rtol=5e-6, atol=5e-6)


@by_rule
def test_keras(name: str, kwargs: dict, formula):
    assert_same(run(name, kwargs), run_keras(name, kwargs))


@by_shared
def test_shared_arguments_as_in_keras(shared: dict):
    for name in ("Adam", "Nadam") if len(shared) > 3 else ("Adam",):
        assert_same(run(name, shared), run_keras(name, shared))


@by_rule
def test_eager_is_compiled(name: str, kwargs: dict, formula):
    kwargs = {**kwargs, "gradient_accumulation_steps": 2, "clipnorm": 1.0}
    optimizer, params = make(carnyx, name, kwargs)
    for gradients in GRADIENTS[:4]:
        optimizer.apply([jnp.asarray(g) for g in gradients])
    step, values = compiled(*make(carnyx, name, kwargs)), None
    twin, own = make(carnyx, name, kwargs)
    values = [v.value for v in [*own, *twin.variables]]
    for gradients in GRADIENTS[:4]:
        values = step(values, gradients)
    assert_same([np.asarray(v) for v in [*params, *optimizer.variables]], values)


@by_rule
def test_variables_and_config_are_keras_s(name: str, kwargs: dict, formula):
    kwargs = {**kwargs, "name": "opt"}
    (ours, _), (theirs, _) = make(carnyx, name, kwargs), make(keras, name, kwargs)
    assert [v.shape for v in ours.variables] == [tuple(v.shape) for v in theirs.variables]
    if name not in ("Adafactor", "Nadam"):  # Keras names some of theirs "w0" or "variable"
        assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    assert ours.get_config() == theirs.get_config()
    config = optimizers.serialize(ours)
    assert config == keras.optimizers.serialize(theirs)
    assert optimizers.deserialize(config).get_config() == ours.get_config()
    if name != "Lamb":  # Keras does not know its own name for it
        assert keras.optimizers.deserialize(config).get_config() == ours.get_config()
    assert type(optimizers.get(name.lower())) is type(ours)


@by_rule
def test_half_weights_have_float32_statistics(name: str, kwargs: dict, formula):
    weight = carnyx.Variable(START[0], dtype="bfloat16")
    optimizer = getattr(optimizers, name)(0.001, **kwargs)
    optimizer.apply([jnp.asarray(GRADIENTS[0][0], "bfloat16")], [weight])
    assert {v.dtype for v in optimizer.variables} == {"int32", "float32"}
    assert weight.dtype == "bfloat16"
    assert np.isfinite(np.asarray(weight, "float32")).all()


def test_saved_state_goes_both_ways():
    ours, params = make(carnyx, "Adam", {"use_ema": True})
    theirs, params_keras = make(keras, "Adam", {"use_ema": True})
    theirs.apply([jnp.asarray(g) for g in GRADIENTS[0]])
    store: dict = {}
    theirs.save_own_variables(store)
    ours.load_own_variables(store)
    for variable, other in zip(params, params_keras, strict=True):
        variable.assign(other.value)
    for optimizer in (ours, theirs):
        optimizer.apply([jnp.asarray(g) for g in GRADIENTS[1]])
    assert_same([np.asarray(v) for v in params], [np.asarray(v) for v in params_keras])
    back: dict = {}
    ours.save_own_variables(back)
    theirs.load_own_variables(back)
    assert_same([np.asarray(v) for v in ours.variables], [np.asarray(v) for v in theirs.variables])
    with pytest.warns(UserWarning, match="were not loaded"):
        ours.load_own_variables({"0": 1})


def test_statistics_are_computed_once_a_step():
    params = [carnyx.Variable(START[1]) for _ in range(5)]
    optimizer = optimizers.Adam()
    optimizer.build(params)
    held = [*params, *optimizer.variables]
    step = pure(lambda g: optimizer.apply(g, params), held)
    jaxpr = str(jax.make_jaxpr(step)([v.value for v in held], [START[1]] * 5))
    assert jaxpr.count(" pow ") == 2  # beta_1^t and beta_2^t, for five parameters


# ---- learning rate


def test_learning_rate_is_assigned_without_compiling_again():
    optimizer, params = make(carnyx, "SGD", {})
    traces = []

    def update(gradients):
        traces.append(1)
        optimizer.apply(gradients, params)

    held = [*params, *optimizer.variables]
    step = jax.jit(pure(update, held))
    for rate in (0.5, 0.25):
        optimizer.learning_rate = rate
        _, values = step([v.value for v in held], GRADIENTS[0])
        np.testing.assert_allclose(values[0], START[0] - rate * GRADIENTS[0][0], rtol=1e-6)
    assert len(traces) == 1
    assert float(optimizer.learning_rate) == 0.25


SCHEDULES = (
    ("ExponentialDecay", {"decay_steps": 4, "decay_rate": 0.5}),
    ("ExponentialDecay", {"decay_steps": 4, "decay_rate": 0.5, "staircase": True}),
    ("PolynomialDecay", {"decay_steps": 7}),
    ("PolynomialDecay", {"decay_steps": 7, "power": 2.0, "cycle": True, "end_learning_rate": 0.01}),
    ("InverseTimeDecay", {"decay_steps": 3, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"decay_steps": 3, "decay_rate": 0.5, "staircase": True}),
    ("CosineDecay", {"decay_steps": 9}),
    ("CosineDecay", {"decay_steps": 9, "alpha": 0.1, "warmup_target": 0.7, "warmup_steps": 5}),
    ("CosineDecayRestarts", {"first_decay_steps": 5}),
    ("CosineDecayRestarts", {"first_decay_steps": 5, "t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1}),
)


def _schedule(module, name: str, kwargs: dict):
    start = {} if name.startswith("Piecewise") else {"initial_learning_rate": 0.3}
    return getattr(module.optimizers.schedules, name)(**start, **kwargs)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [*SCHEDULES, ("PiecewiseConstantDecay", {"boundaries": [3, 8], "values": [0.3, 0.2, 0.1]})],
)
def test_schedules_are_keras_s(name: str, kwargs: dict):
    ours, theirs = (_schedule(module, name, kwargs) for module in (carnyx, keras))
    steps = np.array([0, 1, 3, 4, 5, 7, 9, 12, 14, 15, 16, 21])
    got = jax.jit(jax.vmap(ours))(steps)
    expected = [float(theirs(int(step))) for step in steps]
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7)
    assert ours.get_config() == theirs.get_config()
    twin = optimizers.schedules.deserialize(optimizers.schedules.serialize(ours))
    assert twin.get_config() == ours.get_config()
    for module in (carnyx, keras):
        optimizer = module.optimizers.deserialize(optimizers.serialize(optimizers.Adam(ours)))
        expected = optimizers.Adam(ours).get_config()["learning_rate"]
        assert optimizer.get_config()["learning_rate"] == expected


def test_compiled_schedules_step_down_on_time():
    module, steps = carnyx.optimizers.schedules, np.arange(1, 130)
    for length in (3, 41, 47):  # 1 / 41 and 1 / 47 in float32 are too small
        falls = jax.jit(jax.vmap(module.ExponentialDecay(1.0, length, 0.5, staircase=True)))
        np.testing.assert_allclose(falls(steps), 0.5 ** (steps // length), rtol=1e-6)
        again = jax.jit(jax.vmap(module.CosineDecayRestarts(1.0, length, t_mul=3.0)))
        starts = np.array([0, 1, 4, 13, 40]) * length
        np.testing.assert_allclose(again(starts), 1.0, atol=1e-6)


def test_schedules_against_their_formulas():
    decay = carnyx.optimizers.schedules.ExponentialDecay(0.3, 4, 0.5)
    assert float(decay(6)) == pytest.approx(0.3 * 0.5**1.5)
    cosine = carnyx.optimizers.schedules.CosineDecay(0.0, 10, warmup_target=0.4, warmup_steps=4)
    assert float(cosine(2)) == pytest.approx(0.2)
    assert float(cosine(9)) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="decay_steps is above 0"):
        carnyx.optimizers.schedules.CosineDecay(0.1, 0)
    with pytest.raises(ValueError, match="boundaries need"):
        carnyx.optimizers.schedules.PiecewiseConstantDecay([1], [1.0])


@pytest.mark.parametrize("curve", ["cosine", "linear"])
def test_one_cycle(curve: str):
    schedule = optimizers.schedules.OneCycle(0.8, 21, 0.3, 8.0, 100.0, curve)
    got = jax.jit(jax.vmap(schedule))(np.arange(24))
    way = np.linspace(0, 1, 15)
    shape = way if curve == "linear" else (1 - np.cos(np.pi * way)) / 2
    fall = 0.8 + (0.001 - 0.8) * shape
    way = np.linspace(0, 1, 7)
    rise = 0.1 + 0.7 * (way if curve == "linear" else (1 - np.cos(np.pi * way)) / 2)
    np.testing.assert_allclose(got, [*rise, *fall[1:], *[0.001] * 3], rtol=1e-5)
    twin = optimizers.schedules.deserialize(optimizers.schedules.serialize(schedule))
    assert twin.get_config() == schedule.get_config()


def test_one_cycle_at_its_limits():
    cycle = optimizers.schedules.OneCycle
    assert float(cycle(1.0, 10, rising=0)(0)) == 1.0
    assert float(cycle(1.0, 10, rising=1)(9)) == 1.0
    assert float(cycle(1.0, 10)(9)) == pytest.approx(1 / 25e4)
    assert np.isfinite(
        [float(cycle(1.0, 2, rising=r)(s)) for r in (0, 0.3, 1) for s in (0, 1)]
    ).all()
    for name, value in (
        ("total_steps", 1),
        ("rising", 1.5),
        ("start_divisor", 0.5),
        ("curve", "x"),
    ):
        with pytest.raises(ValueError, match=f"{name} .*Received: {name}="):
            cycle(**{"max_learning_rate": 1.0, "total_steps": 10, name: value})


def test_optimizer_with_a_schedule():
    kwargs = {"gradient_accumulation_steps": 2}
    rates = [_schedule(m, "ExponentialDecay", SCHEDULES[0][1]) for m in (carnyx, keras)]
    assert_same(run("Adam", kwargs, rates[0]), run_keras("Adam", kwargs, rates[1]))
    optimizer, _ = make(carnyx, "SGD", {}, rates[0])
    assert float(optimizer.learning_rate) == pytest.approx(0.3)
    assert [v.name for v in optimizer.variables] == ["iteration"]
    with pytest.raises(TypeError, match="has a schedule"):
        optimizer.learning_rate = 0.1
    fresh = optimizers.SGD(0.1)
    fresh.learning_rate = rates[0]
    assert fresh.learning_rate == pytest.approx(0.3)


# ---- what else surrounds a rule


def test_clipping_bounds_the_step():
    for kwargs, bound in (
        ({"clipnorm": 0.1}, lambda g: [np.linalg.norm(x) for x in g]),
        ({"global_clipnorm": 0.1}, lambda g: [np.sqrt(sum((x**2).sum() for x in g))]),
        ({"clipvalue": 0.1}, lambda g: [abs(x).max() for x in g]),
    ):
        optimizer, params = make(carnyx, "SGD", kwargs, rate=1.0)
        optimizer.apply([jnp.asarray(g) for g in GRADIENTS[0]])
        moved = [a - np.asarray(v) for a, v in zip(START, params, strict=True)]
        np.testing.assert_allclose(bound(moved), 0.1, rtol=1e-5)


def test_a_gradient_that_is_not_finite_is_not_hidden_by_clipping():
    optimizer, params = make(carnyx, "SGD", {"global_clipnorm": 1.0})
    optimizer.apply([jnp.full((4, 3), jnp.inf), jnp.ones(3)])
    assert np.isnan(params[1].numpy()).all()


def test_constraints_and_exclusion_from_decay():
    params = [carnyx.Variable(START[1], name=name) for name in ("kernel", "bias", "scale")]
    params[0].constraint = carnyx.constraints.NonNeg()
    optimizer = optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[params[2]], var_names=["bi"])
    optimizer.apply([jnp.zeros(3)] * 3, params)
    np.testing.assert_allclose(params[0], np.maximum(0.95 * START[1], 0), rtol=1e-6)
    np.testing.assert_array_equal(params[1], START[1])
    np.testing.assert_array_equal(params[2], START[1])
    with pytest.raises(ValueError, match="is built"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_averages_are_put_in_place_at_the_end():
    optimizer, params = make(carnyx, "SGD", {"use_ema": True, "ema_momentum": 0.5}, rate=1.0)
    for _ in range(2):
        optimizer.apply([jnp.ones((4, 3)), jnp.ones(3)])
    np.testing.assert_allclose(params[0], START[0] - 2, rtol=1e-5)
    optimizer.finalize_variable_values(params)
    np.testing.assert_allclose(params[0], START[0] - 1.5, rtol=1e-5)


def test_no_gradient():
    optimizer, params = make(carnyx, "SGD", {}, rate=1.0)
    with pytest.warns(UserWarning, match=r"no gradients for \['w0'\]"):
        optimizer.apply([None, jnp.ones(3)], params)
    np.testing.assert_array_equal(params[0], START[0])
    np.testing.assert_allclose(params[1], START[1] - 1, rtol=1e-6)
    with pytest.raises(ValueError, match="no variable has a gradient"):
        optimizer.apply([None, None], params)


def test_apply_gradients_and_stateless_apply():
    optimizer, params = make(carnyx, "Adam", {})
    pairs = [(jnp.asarray(g), p) for g, p in zip(GRADIENTS[0], params, strict=True)]
    assert int(optimizer.apply_gradients(pairs)) == 1
    twin, fresh = make(carnyx, "Adam", {})
    weights, state = twin.stateless_apply(twin.variables, GRADIENTS[0], START)
    assert_same(weights, [p.numpy() for p in params])
    assert_same(state, [v.numpy() for v in optimizer.variables])
    np.testing.assert_array_equal(fresh[0], START[0])


@by_rule
def test_every_way_to_apply_is_the_same(name: str, kwargs: dict, formula):
    gradients = [jnp.asarray(g) for g in GRADIENTS[0]]
    states = []
    for way in ("apply", "apply_gradients", "stateless_apply"):
        optimizer, params = make(carnyx, name, kwargs)
        if way == "apply":
            optimizer.apply(gradients)
        elif way == "apply_gradients":
            assert int(optimizer.apply_gradients(zip(gradients, params, strict=True))) == 1
        else:
            weights, state = optimizer.stateless_apply(optimizer.variables, gradients, params)
            np.testing.assert_array_equal(params[0], START[0])
            states.append([*weights, *state])
            continue
        states.append([v.numpy() for v in [*params, *optimizer.variables]])
    for other in states[1:]:
        assert_same(other, states[0])
    assert not np.array_equal(states[0][0], START[0])


@by_rule
def test_decay_leaves_the_excluded_alone(name: str, kwargs: dict, formula):
    moved = {}
    for decay in (None, 0.5):
        given = {**kwargs, "weight_decay": decay}
        if name == "AdamW" and decay is None:
            given["weight_decay"] = 0.0
        if name == "Muon":
            given["adam_weight_decay"] = decay
        params = [carnyx.Variable(a, name=f"w{i}") for i, a in enumerate(START)]
        optimizer = getattr(optimizers, name)(RATE, **given)
        optimizer.exclude_from_weight_decay(var_names=["w1"])
        for gradients in GRADIENTS[:2]:
            optimizer.apply([jnp.asarray(g) for g in gradients], params)
        moved[decay] = [p.numpy() for p in params]
    np.testing.assert_array_equal(moved[0.5][1], moved[None][1])
    assert not np.array_equal(moved[0.5][0], moved[None][0])


def test_muon_treats_rows_and_columns_alike():
    wide, tall = carnyx.Variable(START[0].T), carnyx.Variable(START[0])
    optimizers.Muon(RATE).apply([jnp.asarray(GRADIENTS[0][0].T)], [wide])
    optimizers.Muon(RATE).apply([jnp.asarray(GRADIENTS[0][0])], [tall])
    np.testing.assert_allclose(wide.numpy().T, tall, rtol=1e-5, atol=1e-6)
    table = carnyx.Variable(START[0], name="token_embeddings")
    for exclude in (True, False):
        optimizer = optimizers.Muon(exclude_embeddings=exclude)
        optimizer.build([table])
        assert len(optimizer.variables) == (4 if exclude else 3)
    with pytest.raises(ValueError, match="exclude_layers is a list"):
        optimizers.Muon(exclude_layers="output")  # type: ignore[arg-type]


def _own_optimizer(module):
    class Momentum(module.optimizers.Optimizer):
        def build(self, variables):
            if self.built:
                return
            super().build(variables)
            self.means = self.add_optimizer_variables(variables, "mean")
            self.count = self.add_variable((), dtype="float32", name="count")

        def update_step(self, gradient, variable, learning_rate):
            mean = self.means[self._get_variable_index(variable)]
            self.assign(mean, 0.5 * mean + gradient)
            self.assign_add(self.count, 1.0)
            self.assign_sub(variable, learning_rate * mean)

    return Momentum(learning_rate=0.1, weight_decay=0.2, clipvalue=0.5)


def test_a_program_s_own_optimizer():
    results = []
    for module in (carnyx, keras):
        params = [module.Variable(a, name=f"w{i}") for i, a in enumerate(START)]
        optimizer = _own_optimizer(module)
        for gradients in GRADIENTS[:3]:
            optimizer.apply([jnp.asarray(g) for g in gradients], params)
        results.append([np.asarray(v) for v in [*params, *optimizer.variables]])
    assert_same(*results)


# ---- loss scaling


def test_loss_scaling_as_in_keras():
    states = []
    for module in (carnyx, keras):
        params = [module.Variable(a, name=f"w{i}") for i, a in enumerate(START)]
        inner = module.optimizers.SGD(0.1, momentum=0.9)
        optimizer = module.optimizers.LossScaleOptimizer(inner, 64.0, dynamic_growth_steps=3)
        optimizer.build(params)
        assert [v.name for v in optimizer.variables[2:4]] == ["step_counter", "dynamic_scale"]
        assert float(optimizer.scale_loss(jnp.float32(2))) == 128.0
        update, history = jax.jit(optimizer.stateless_apply), []
        weights, state = START, [v.value for v in optimizer.variables]
        for step, gradients in enumerate(GRADIENTS):
            factor = np.float32(np.inf if step in (4, 5) else state[3])
            weights, state = update(state, [jnp.asarray(g * factor) for g in gradients], weights)
            history.append([*weights, *state])
        states.append(history)
    for ours, theirs in zip(*states, strict=True):
        assert_same(ours, theirs)
    assert [float(values[5]) for values in states[0]][2:7] == [128, 128, 64, 32, 32]


def test_loss_scaling_compiled_and_configured():
    ours, params = None, [carnyx.Variable(START[0])]
    ours = optimizers.LossScaleOptimizer(optimizers.Adam(0.1), initial_scale=2.0)
    ours.build(params)
    step = jax.jit(ours.stateless_apply)
    state = [v.value for v in ours.variables]
    weights, state = step(state, [GRADIENTS[0][0] * np.inf], [START[0]])
    np.testing.assert_array_equal(weights[0], START[0])
    weights, state = step(state, [GRADIENTS[0][0]], [START[0]])
    np.testing.assert_allclose(weights[0], START[0] - 0.1 * np.sign(GRADIENTS[0][0]), atol=1e-5)
    ours.learning_rate = 0.5
    assert float(ours.inner_optimizer.learning_rate) == 0.5
    config = optimizers.serialize(ours)
    for twin in (optimizers.deserialize(config), keras.optimizers.deserialize(config)):
        assert twin.get_config() == ours.get_config()
    half = ours.scale_loss(jnp.asarray(1e4, "float16"))
    assert np.isfinite(half)
    with pytest.raises(ValueError, match="inner optimizer"):
        optimizers.LossScaleOptimizer(optimizers.SGD(), clipnorm=1.0)


# ---- mistakes


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "only one of"),
        ({"clipnorm": -1.0}, "clipnorm is above 0"),
        ({"gradient_accumulation_steps": 1}, "whole number from 2"),
        ({"use_ema": True, "ema_momentum": 1.5}, r"lies in \[0, 1\]"),
        ({"use_ema": True, "ema_overwrite_frequency": 0}, "whole number from 1"),
        ({"learning_rate": -1.0}, "finite number from 0"),
        ({"momentum": 2.0}, r"momentum lies in \[0, 1\]"),
        ({"lr": 0.1}, "no argument 'lr'"),
    ],
)
def test_bad_arguments(kwargs: dict, message: str):
    with pytest.raises(ValueError, match=message):
        optimizers.SGD(**kwargs)


def test_other_mistakes():
    with pytest.warns(UserWarning, match="`decay` is ignored"):
        optimizers.SGD(decay=0.1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="AdamW: weight_decay"):
        optimizers.AdamW(weight_decay=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="(?i)did you mean 'adam'"):
        optimizers.get("adem")
    with pytest.raises(TypeError, match="as an optimizer"):
        optimizers.get(len)
    optimizer, params = make(carnyx, "SGD", {})
    with pytest.raises(ValueError, match="1 gradient came for 2 variables"):
        optimizer.apply([jnp.ones(3)], params)
    with pytest.raises(ValueError, match="built for other variables"):
        optimizer.apply([jnp.ones(3)], [carnyx.Variable(START[1])])
    with pytest.raises(ValueError, match="is not built"):
        optimizers.SGD().apply([jnp.ones(3)])
