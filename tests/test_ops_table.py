"""Every operation by the table of cases: value, type, eager = compiled, inferred shape, gradient.

Many rows run in one compiled call, since compiling each would take minutes; a row's own test then
looks at its part. The edges (empty, single, special numbers, other types) follow for families.
"""

import functools
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from carnyx import ops
from carnyx.core.symbol import KerasTensor
from carnyx.core.variable import Variable
from tests.cases import ops as cases
from tests.cases.ops import ROWS, Row

CHUNK = 40
NUMBERED = {f"{row.id}-{i}": row for i, row in enumerate(ROWS)}
COMPILED = {key: row for key, row in NUMBERED.items() if row.compiled}


def bound(row: Row, library=ops):
    """The row's call as a function of its arrays, and these."""
    leaves, tree = jax.tree.flatten((row.args, row.kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray)]

    def call(arrays):
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        args, kwargs = jax.tree.unflatten(tree, filled)
        return getattr(library, row.name)(*args, **kwargs)

    return call, [leaves[i] for i in places]


def flat(result):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result)]


def read(row, result):
    if row.read is None:
        return result
    result = jax.tree.map(np.asarray, result)
    return row.read(*result) if isinstance(result, tuple) else row.read(result)


def chunks(keys):
    keys = list(keys)
    return [keys[i : i + CHUNK] for i in range(0, len(keys), CHUNK)]


def quickly(function, *args):
    """The function's result, compiled without optimising, which would take longer than running."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})(*args)


def together(functions, arrays):
    """All the functions in one compiled call."""
    return quickly(lambda inputs: [f(x) for f, x in zip(functions, inputs, strict=True)], arrays)


@functools.cache
def eager(key):
    call, arrays = bound(NUMBERED[key])
    return call(arrays)


@functools.cache
def compiled():
    found = {}
    for keys in chunks(COMPILED):
        calls, arrays = zip(*(bound(NUMBERED[key]) for key in keys), strict=True)
        found.update(zip(keys, together(calls, arrays), strict=True))
    return found


def wide(x):
    """Floats in float64, where the oracles work."""
    if isinstance(x, np.ndarray) and x.dtype in (np.float32, np.complex64):
        return x.astype(complex if x.dtype == np.complex64 else float)
    return x


def expected(row):
    args, kwargs = jax.tree.map(wide, (row.args, row.kwargs))
    if row.oracle is None:
        kwargs.pop("dtype", None)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return flat(cases.oracle_of(row)(*args, **kwargs))


def assert_near(ours, theirs, tolerance, message=""):
    """Equal up to a tolerance relative to the greatest number."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        kind = complex if np.iscomplexobj(a) or np.iscomplexobj(b) else float
        a, b = (x.astype(kind) for x in (a, b))
        finite = np.abs(b[np.isfinite(b)])
        scale = finite.max() if finite.size else 1.0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=message)


def test_every_operation_has_a_row():
    tested = {row.name for row in ROWS}
    for path, names in cases.ELSEWHERE.items():
        text = (Path(__file__).parent / path).read_text()
        tested |= {name for name in names.split() if f"ops.{name}(" in text}
    missing = {name for home in ops.homes() for name in home.__all__} - tested
    assert not missing, f"no row in tests/cases/ops.py for: {sorted(missing)}"


@pytest.mark.parametrize("key", NUMBERED)
def test_value(key):
    row = NUMBERED[key]
    result = compiled()[key] if row.compiled else eager(key)
    assert_near(flat(read(row, result)), expected(row), row.tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("key", COMPILED)
def test_compiled_as_well_as_not(key):
    row = NUMBERED[key]
    results = eager(key), compiled()[key]
    assert_near(*(flat(read(row, result)) for result in results), max(row.tolerance, 1e-5))


def abstract(key, library=ops):
    """Shape and type of each result, found without computing anything where that can be."""
    row = NUMBERED[key]
    call, arrays = bound(row, library)
    if not row.compiled:
        return call(arrays)
    return jax.eval_shape(lambda: call(arrays))  # NumPy's arrays, as a program gives them


@pytest.mark.parametrize("key", [key for key, row in NUMBERED.items() if row.typed])
def test_type_is_that_of_keras(key):
    ours, theirs = abstract(key), abstract(key, keras.ops)
    shown = [[(a.shape, a.dtype.name) for a in jax.tree.leaves(r)] for r in (ours, theirs)]
    assert shown[0] == shown[1]
    assert isinstance(ours, (list, tuple)) == isinstance(theirs, (list, tuple))


@pytest.mark.parametrize("key", COMPILED)
def test_shape_is_inferred(key):
    row = NUMBERED[key]
    call, arrays = bound(row)
    if not arrays:
        return
    real = jax.tree.leaves(abstract(key))
    for batch in (False, True)[: 1 + row.batch]:
        known = [(None, *a.shape[1:]) if batch and a.ndim else a.shape for a in arrays]
        inferred = call([KerasTensor(s, a.dtype.name) for s, a in zip(known, arrays, strict=True)])
        inferred = jax.tree.leaves(inferred, is_leaf=lambda x: isinstance(x, KerasTensor))
        assert [t.dtype for t in inferred] == [a.dtype.name for a in real]
        for symbol, array in zip(inferred, real, strict=True):
            assert len(symbol.shape) == array.ndim
            sizes = zip(symbol.shape, array.shape, strict=True)
            assert all(a == b or (batch and a is None) for a, b in sizes)


def test_variables_are_taken_as_arrays_are():
    for key, row in COMPILED.items():
        call, arrays = bound(row)
        variables = [Variable(a, dtype=a.dtype.name) for a in arrays]
        found = [jax.eval_shape(functools.partial(call, given)) for given in (arrays, variables)]
        plain, ours = ([(a.shape, a.dtype) for a in jax.tree.leaves(f)] for f in found)
        assert ours == plain, key


def loss(call):
    """A sum of the results, each times a number of its own, as a function of the arrays."""

    def run(arrays):
        total = 0.0
        for leaf in jax.tree.leaves(call(arrays)):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                weights = np.cos(np.arange(leaf.size)).reshape(leaf.shape)
                total += jnp.sum(jnp.where(jnp.isfinite(leaf), leaf * weights, 0))
        return total

    return run


@functools.cache
def slopes(keys):
    """The gradient of each row along a direction, and the same by differences, in float64."""
    step = 1e-6
    with jax.enable_x64(True):
        calls, arrays = zip(*(bound(NUMBERED[key]) for key in keys), strict=True)
        arrays = [[wide(a) for a in part] for part in arrays]
        ways = jax.tree.map(lambda a: np.sin(1 + np.arange(a.size)).reshape(a.shape), arrays)
        losses = [loss(call) for call in calls]

        def moved(t):
            return jax.tree.map(lambda a, w: a + t * w if a.dtype == float else a, arrays, ways)

        def values_and_slopes(low, here, high):
            differences = [f(y) - f(x) for f, x, y in zip(losses, low, high, strict=True)]
            gradients = [jax.grad(f, allow_int=True)(x) for f, x in zip(losses, here, strict=True)]
            return differences, gradients

        differences, gradients = quickly(values_and_slopes, moved(-step), arrays, moved(step))
    exact = [
        sum(np.sum(g * w) for g, w in zip(map(np.asarray, gs), ws, strict=True) if g.dtype == float)
        for gs, ws in zip(gradients, ways, strict=True)
    ]
    return dict(zip(keys, zip(exact, np.array(differences) / (2 * step), strict=True), strict=True))


def smooth(keys):
    """Those of the rows that lead from floats to floats."""
    chosen = [key for key in keys if NUMBERED[key].gradient]
    kinds = [(bound(NUMBERED[key])[1], jax.tree.leaves(abstract(key))) for key in chosen]
    reals = [[any(a.dtype == np.float32 for a in side) for side in kind] for kind in kinds]
    return [key for key, real in zip(chosen, reals, strict=True) if all(real)]


def assert_gradients(keys):
    for part in chunks(smooth(keys)):
        for key, (exact, by_differences) in slopes(tuple(part)).items():
            np.testing.assert_allclose(exact, by_differences, rtol=2e-5, atol=2e-5, err_msg=key)


def test_gradient_of_our_own_formulas_is_that_of_differences():
    assert_gradients([key for key, row in COMPILED.items() if row.oracle is not None])


@pytest.mark.slow
def test_every_gradient_is_that_of_differences():
    assert_gradients(COMPILED)
