"""The type of a result is Keras's, for every operation of two tensors and all pairs of types."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import keras
import pytest

from carnyx import backend, ops
from carnyx.ops import linalg, nn, numpy
from carnyx.ops import math as special

TYPES = "bool int8 int16 int32 uint8 uint16 uint32 float16 bfloat16 float32".split()
WIDE = [*TYPES, "int64", "uint64", "float64", "complex64"]
NUMBERS = (True, 2, 2.5)
HOMES = (numpy, special, nn, linalg)
# Keras takes a Python float beside a half as a float32 in these; here it has no type of its own.
FLOATS_WEAK = {"arctan2", "logaddexp", "logaddexp2"}


def names(*firsts):
    """The operations whose signature begins with these parameters, the others having defaults."""
    for home in HOMES:
        for signature, rows in home.TABLES.items():
            needed = [p.strip() for p in signature.split(",") if "=" not in p and ")" not in p]
            if needed in [list(f) for f in firsts]:
                yield from rows


TWO = sorted(names(("x1", "x2"), ("x", "y"), ("a", "b")))
ONE = sorted(set(names(("x",), ("a",), ("y",), ("array",))) - {"ndim", "size"})
QUICK = "add divide equal floor_divide logaddexp matmul maximum power".split()


def result(library, name, *types):
    """The types of the result on 4 x 4 arrays of these types or on numbers; None: refused."""
    arrays = [jax.ShapeDtypeStruct((4, 4), t) for t in types if isinstance(t, str)]

    def call(*given):
        remaining = iter(given)
        return getattr(library, name)(
            *(next(remaining) if isinstance(t, str) else t for t in types)
        )

    try:
        return [leaf.dtype.name for leaf in jax.tree.leaves(jax.eval_shape(call, *arrays))]
    except (TypeError, ValueError, IndexError):
        return None


def differences(name, combinations):
    for types in combinations:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras's log_softmax of int8, for instance
            theirs = result(keras.ops, name, *types)
        if theirs is None or (name in FLOATS_WEAK and 2.5 in types):
            continue
        ours = result(ops, name, *types)
        if ours != theirs:
            yield types, ours, theirs


def pairs(types):
    beside = [pair for t in types for n in NUMBERS for pair in ((t, n), (n, t))]
    return [*itertools.product(types, types), *beside]


@pytest.mark.parametrize("name", QUICK)
def test_common_pairs(name):
    kept = ["bool", "int8", "uint8", "int32", "float16", "bfloat16", "float32"]
    assert not list(differences(name, pairs(kept)))


@pytest.mark.slow
@pytest.mark.parametrize("name", TWO)
def test_all_pairs(name):
    assert not list(differences(name, pairs(TYPES)))


def test_one_tensor():
    wrong = {name: list(differences(name, [(t,) for t in TYPES])) for name in ONE}
    assert not {name: found for name, found in wrong.items() if found}
    assert len(ONE) > 100


def test_halves_beside_numbers_stay_halves():
    for name in (*QUICK, *FLOATS_WEAK):
        if name != "matmul":
            kind = "bool" if name == "equal" else "float16"
            assert result(ops, name, "float16", 2.5) == [kind]


def test_result_type_of_pairs():
    for types in itertools.product([*WIDE, int, float, bool, None], repeat=2):
        assert backend.result_type(*types) == keras.backend.result_type(*types)
    assert backend.result_type() == "float32"


@pytest.mark.slow
def test_result_type_of_triples():
    for types in itertools.product([*WIDE, int, float, bool, None], repeat=3):
        assert backend.result_type(*types) == keras.backend.result_type(*types)


def test_backend_names():
    for dtype in (*WIDE, float, int):
        assert backend.is_float_dtype(dtype) == keras.backend.is_float_dtype(dtype)
        assert backend.is_int_dtype(dtype) == keras.backend.is_int_dtype(dtype)
        assert backend.standardize_dtype(dtype) == keras.backend.standardize_dtype(dtype)
    assert [backend.get_uid("a"), backend.get_uid("b"), backend.get_uid("a")] == [1, 1, 2]
    backend.clear_session()
    assert backend.get_uid("a") == 1 and not backend.is_keras_tensor(jnp.ones(2))
