"""Operations at the edges: empty, single and special numbers, other types, strides, axes.

Families are taken from the operations' own tables, so that a new row there is tried here too. All
cases of a family run in one compiled call; NumPy says what the values are, Keras what the types.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
import keras
import ml_dtypes
import numpy as np
import pytest

from carnyx import ops
from carnyx.core.symbol import KerasTensor
from carnyx.ops import math as special
from carnyx.ops import nn, numpy
from tests.cases import ops as cases
from tests.cases import oracles
from tests.test_ops_table import assert_near, chunks, flat, together

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.5, 1e9], "float32")
REAL = cases.X
ONE = {
    "scalar": np.array(0.3, "float32"),
    "empty": np.zeros((0, 3), "float32"),
    "single": np.full((1, 1), 0.5, "float32"),
    "special": SPECIAL,
    "strided": REAL[::2, ::-1],
    "int": np.arange(-3, 4, dtype="int32"),
    "small": np.arange(5, dtype="uint8"),
    "bool": np.array([True, False]),
    "bfloat16": REAL.astype(ml_dtypes.bfloat16),
}
TWO = {
    "scalar": (np.array(0.3, "float32"), REAL),
    "empty": (np.zeros((0, 3), "float32"), np.ones(3, "float32")),
    "broadcast": (REAL[:, :1], REAL[:1]),
    "special": (SPECIAL[:, None], SPECIAL),
    "strided": (REAL[::2, ::-1], REAL[::2]),
    "int": (np.arange(-3, 4, dtype="int32")[:, None], np.arange(1, 4, dtype="int32")),
    "mixed": (np.arange(4, dtype="int8"), REAL),
    "bool": (np.array([[True], [False]]), np.array([True, False])),
    "bfloat16": (REAL.astype(ml_dtypes.bfloat16), (REAL + 0.1).astype(ml_dtypes.bfloat16)),
}
# Along axes: arguments besides the array.
AXES = {
    "all": (REAL, {}),
    "last": (cases.BATCH, {"axis": -1}),
    "single": (REAL[:1], {"axis": 0}),
    "empty": (np.zeros((2, 0), "float32"), {"axis": 0}),
    "nothing": (np.zeros((0, 3), "float32"), {"axis": 0}),
    "special": (np.stack([SPECIAL, SPECIAL[::-1]]), {"axis": 1}),
    "int": (cases.WHOLE, {"axis": 1}),
    "small": (cases.OTHER.astype("uint8"), {"axis": 0}),
    "bool": (cases.TRUTH, {"axis": -1}),
    "bfloat16": (REAL.astype(ml_dtypes.bfloat16), {"axis": 1}),
    "strided": (cases.BATCH[:, ::2, ::-1], {"axis": 1}),
}
NOT_ELEMENTWISE = set("ndim size ravel array corrcoef fliplr flipud".split())
FAMILIES = {
    "one": [*numpy.TABLES["x"], *special.TABLES["x"], *nn.TABLES["x"]],
    "two": [*numpy.TABLES["x1, x2"]],
    "bits": [*numpy.TABLES["x, y"]],
    "axes": [
        *numpy.TABLES["x, axis=None, keepdims=False"],
        *special.TABLES["x, axis=None, keepdims=False"],
        *numpy.TABLES["x, axis=None, dtype=None"],
        *numpy.TABLES["x, axis=None"],
    ],
    "along": [*numpy.TABLES["x, axis=-1"], "softmax", "log_softmax"],
}
PRODUCTS = set("dot inner kron matmul outer vdot".split())
FORMULAS = {
    "nanargmax": lambda x, **k: oracles.marked(np.argmax)(np.where(np.isnan(x), -np.inf, x), **k),
    "nanargmin": oracles.marked(np.argmin),
}
# Where the oracle means something else: no rule for NaN, division of whole numbers by 0, wrapping.
ELSE = set(
    "argsort-special floor_divide-bool fmod-bool mod-bool negative-small nextafter-special".split()
)
WHOLE = {"gcd", "lcm", "ldexp", *FAMILIES["bits"], "bitwise_invert", "bitwise_not"}
FEW = {"scalar", "single"}  # what products of matrices and all elements are tried on


def edges(family):
    """Edge -> (arrays, arguments)."""
    if family in ("two", "bits"):
        return {edge: (pair, {}) for edge, pair in TWO.items()}
    if family == "one":
        return {edge: ((x,), {}) for edge, x in ONE.items()}
    given = {edge: ((x,), kwargs) for edge, (x, kwargs) in AXES.items()}
    return {edge: case for edge, case in given.items() if family == "axes" or case[1]}


CASES = {
    f"{name}-{edge}": (name, *case)
    for family, names in FAMILIES.items()
    for name in names
    for edge, case in edges(family).items()
    if name not in NOT_ELEMENTWISE and (name not in PRODUCTS or edge in FEW)
}
VALUES = [key for key in CASES if key not in ELSE]
SAMPLE = VALUES[::5]  # compiling all takes 15 s


def call(library, key):
    name, args, kwargs = CASES[key]
    return lambda arrays: getattr(library, name)(*arrays, **kwargs)


@functools.cache
def types_of_keras():
    """Key -> shapes and types; nothing where Keras refuses."""
    found = {}
    for key, (_, args, _) in CASES.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # softmax over an axis of size 1
                result = jax.eval_shape(call(keras.ops, key), args)
        except (TypeError, ValueError, ZeroDivisionError):
            continue
        found[key] = [(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(result)]
    return found


def results(keys):
    """Key -> what the operation gives, for those that Keras gives something for."""
    found = {}
    for part in chunks(key for key in keys if key in types_of_keras()):
        calls = [call(ops, key) for key in part]
        found.update(zip(part, together(calls, [CASES[key][1] for key in part]), strict=True))
    return found


def expected(key):
    """What NumPy gives for the numbers; whole ones as such only if Keras does so."""
    name, args, kwargs = CASES[key]
    if types_of_keras()[key][0][1] != "bool" and name not in WHOLE:
        args = [a.astype(float) for a in args]
    function = FORMULAS.get(name) or oracles.named(name)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return flat(function(*args, **kwargs))
        except (TypeError, ValueError):  # SciPy's softmax of nothing
            return None


def check_values(keys):
    tried = 0
    for key, result in results(keys).items():
        theirs = expected(key)
        half = "bfloat16" in (a.dtype.name for a in CASES[key][1])
        if theirs is not None:
            assert_near(flat(result), theirs, 2e-2 if half else 2e-5, key)
            tried += 1
    assert tried > 0.8 * len(keys)


def test_types_and_shapes_are_those_of_keras():
    wrong = {}
    for key, theirs in types_of_keras().items():
        ours = jax.tree.leaves(jax.eval_shape(call(ops, key), CASES[key][1]))
        if [(a.shape, a.dtype.name) for a in ours] != theirs:
            wrong[key] = ours, theirs
    assert not wrong and len(types_of_keras()) > 0.85 * len(CASES)


def test_some_values_are_those_of_numpy():
    check_values(SAMPLE)


@pytest.mark.slow
def test_all_values_are_those_of_numpy():
    check_values(VALUES)


@pytest.mark.parametrize("name", ["max", "amin", "argmax", "nanmin"])
def test_what_nothing_has_is_refused(name):
    with pytest.raises(ValueError):
        getattr(ops, name)(np.zeros((0, 3)), axis=0)


def test_numbers_that_size_cannot_be_known():
    """A result whose size depends on values: symbols have None there, compiled code is refused."""
    x = KerasTensor((None, 3), "int32")
    assert [axis.shape for axis in ops.nonzero(x)] == [(None,), (None,)]
    assert ops.unique(x).shape == (None,) and ops.unique(x, axis=1).shape == (None, None)
    assert ops.unique(x, size=4).shape == (4,)
    parts = ops.unique(x, return_inverse=True, return_counts=True)
    assert [part.shape for part in parts] == [(None,), (None, 3), (None,)]
    assert ops.bincount(x).shape == (None, None)
    assert [axis.shape for axis in ops.where(x)] == [(None,), (None,)]
    for function in (ops.nonzero, ops.unique, ops.bincount, ops.where):
        with pytest.raises(ValueError, match="the size of the result depends on values"):
            jax.jit(function)(jnp.arange(3))
    assert jax.jit(lambda x: ops.unique(x, size=2))(jnp.array([3, 1, 1])).tolist() == [1, 3]
