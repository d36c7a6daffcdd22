"""Regularizers and constraints: their formulas in NumPy, Keras's values, configs and names."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import carnyx
from carnyx import constraints, regularizers

W = np.random.default_rng(0).normal(size=(5, 4)).astype("float32") * 2


def _mean_cosine(w: np.ndarray) -> float:
    unit = [row / np.sqrt((row**2).sum()) for row in w]
    pairs = [abs(a @ b) for i, a in enumerate(unit) for b in unit[:i]]
    return float(np.mean(pairs))


def _projected(w: np.ndarray, axis: int, length) -> np.ndarray:
    """Every vector along the axis rescaled to length(its own)."""
    return np.apply_along_axis(lambda v: v * length(np.sqrt(v @ v)) / np.sqrt(v @ v), axis, w)


# module, class, arguments, formula
CASES = (
    ("regularizers", "L1", {}, lambda w: 0.01 * abs(w).sum()),
    ("regularizers", "L1", {"l1": 0.3}, lambda w: 0.3 * abs(w).sum()),
    ("regularizers", "L2", {"l2": 0.3}, lambda w: 0.3 * (w**2).sum()),
    ("regularizers", "L1L2", {}, lambda w: 0.0),
    (
        "regularizers",
        "L1L2",
        {"l1": 0.3, "l2": 0.2},
        lambda w: 0.3 * abs(w).sum() + 0.2 * (w**2).sum(),
    ),
    ("regularizers", "OrthogonalRegularizer", {}, lambda w: 0.01 * _mean_cosine(w)),
    (
        "regularizers",
        "OrthogonalRegularizer",
        {"factor": 0.5, "mode": "columns"},
        lambda w: 0.5 * _mean_cosine(w.T),
    ),
    ("constraints", "NonNeg", {}, lambda w: np.where(w < 0, 0, w)),
    ("constraints", "UnitNorm", {}, lambda w: _projected(w, 0, lambda n: 1)),
    ("constraints", "UnitNorm", {"axis": 1}, lambda w: _projected(w, 1, lambda n: 1)),
    ("constraints", "MaxNorm", {}, lambda w: _projected(w, 0, lambda n: min(n, 2))),
    (
        "constraints",
        "MaxNorm",
        {"max_value": 3.0, "axis": 1},
        lambda w: _projected(w, 1, lambda n: min(n, 3)),
    ),
    (
        "constraints",
        "MinMaxNorm",
        {"min_value": 4.0, "max_value": 4.5, "rate": 0.25},
        lambda w: _projected(w, 0, lambda n: 0.25 * np.clip(n, 4, 4.5) + 0.75 * n),
    ),
)
by_case = pytest.mark.parametrize(
    ("module", "name", "kwargs", "formula"), CASES, ids=[f"{n}-{k}" for _, n, k, _ in CASES]
)


@by_case
def test_formula_and_keras(module: str, name: str, kwargs: dict, formula):
    ours, theirs = (getattr(getattr(m, module), name)(**kwargs) for m in (carnyx, keras))
    np.testing.assert_allclose(ours(W), formula(W.astype("float64")), rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(ours(W), theirs(jnp.asarray(W)), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(ours(carnyx.Variable(W)), ours(W))
    assert ours(jnp.asarray(W, "bfloat16")).dtype == "bfloat16"


@by_case
def test_configs(module: str, name: str, kwargs: dict, formula):
    ours, theirs = (getattr(m, module) for m in (carnyx, keras))
    made = getattr(ours, name)(**kwargs)
    config = ours.serialize(made)
    assert made.get_config() == pytest.approx(getattr(theirs, name)(**kwargs).get_config())
    for twin in (ours.deserialize(config), theirs.deserialize(config), ours.get(config)):
        np.testing.assert_allclose(twin(jnp.asarray(W)), made(W), rtol=1e-6)


def test_names():
    for module in (regularizers, constraints):
        for name, cls in module.TABLE.items():
            assert type(module.get(name)) is cls
            assert getattr(module, name) is cls
        assert module.get(None) is None
    with pytest.raises(ValueError, match="(?i)did you mean 'l2'"):
        regularizers.get("l22")
    with pytest.raises(ValueError, match="(?i)did you mean 'max_?norm'"):
        constraints.get("maxnorm")


def test_base_classes_and_functions_do_too():
    assert regularizers.Regularizer()(W) == 0
    assert constraints.Constraint()(W) is W
    assert regularizers.get(jnp.sum) is jnp.sum


def test_a_row_of_zeros_has_a_gradient():
    w = W.copy()
    w[1] = 0
    gradient = jax.grad(regularizers.OrthogonalRegularizer())(jnp.asarray(w))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.L1(-0.1), "finite number from 0"),
        (lambda: regularizers.L2(float("nan")), "finite number from 0"),
        (lambda: regularizers.L1L2(l1="a"), "finite number from 0"),  # type: ignore[arg-type]
        (lambda: regularizers.OrthogonalRegularizer(mode="diagonal"), "'rows' or 'columns'"),
        (lambda: regularizers.OrthogonalRegularizer()(W[0]), "needs a matrix"),
    ],
)
def test_mistakes(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
