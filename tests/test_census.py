"""A census of primitives: what all operations together trace to, each on the closed list.

It runs over the operations' own table of cases, and over the loops and branches, which take
functions. A primitive that is not in `program/primitives.py` is an operation that no compiled step
may hold; one without a lowering, an operation that the reference engine cannot run.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from carnyx import ops
from carnyx.engines.numpy import LOWERINGS, NumpyEngine, interpret
from carnyx.program.canonical import canonicalize
from carnyx.program.primitives import PRIMITIVES
from carnyx.program.trace import bodies

X = np.linspace(0.1, 1.0, 12, dtype="float32").reshape(3, 4)

# name -> a function of X
CONTROL: dict[str, Any] = {
    "scan": lambda x: ops.scan(lambda c, a: (c + a, c * a), x[0], x, reverse=True),
    "scan gradient": jax.grad(lambda x: ops.scan(lambda c, a: (c * a, None), x[0], x)[0].sum()),
    "map": lambda x: ops.map(lambda a: a.sum(), x),
    "while_loop": lambda x: ops.while_loop(
        lambda i, v: v.sum() < 99, lambda i, v: (i + 1, v * 2), (0, x), maximum_iterations=5
    ),
    "fori_loop": lambda x: ops.fori_loop(0, 3, lambda i, v: v + i, x),
    "fori_loop traced": lambda x: ops.fori_loop(
        0, x[0, 0].astype("int32") + 2, lambda i, v: v * 2, x
    ),
    "cond": lambda x: ops.cond(x.sum() > 0, lambda: x, lambda: -x),
    "switch": lambda x: ops.switch(
        x[2, 3].astype("int32"), [lambda a: a, lambda a: a * 2, lambda a: -a], x
    ),
    "cond gradient": jax.grad(lambda x: ops.cond(x.sum() > 0, lambda: jnp.sin(x), lambda: x).sum()),
    "vectorized_map": lambda x: ops.vectorized_map(
        lambda a: ops.cond(a[0] > 0.3, lambda: a, lambda: -a), x
    ),
    "associative_scan": lambda x: ops.associative_scan(lambda a, b: a + b, x, axis=1),
    "vectorize": lambda x: ops.vectorize(lambda a, b: a @ b, signature="(n),(n)->()")(x, x),
    "jvp": lambda x: ops.jvp(lambda a: jnp.sin(a) ** 2, (x,), (x,)),
    "custom_gradient": jax.grad(
        lambda x: ops.custom_gradient(lambda a: (a**2, lambda g: 3 * g))(x).sum()
    ),
}


def traced(function: Any, *args: Any) -> Any:
    return canonicalize(jax.make_jaxpr(function)(*args))


def census(jaxpr: Any) -> Iterator[str]:
    """The names of all primitives of a jaxpr, those in bodies too."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for body in bodies(equation):
            yield from census(body.jaxpr)


def rows_of_the_table() -> list[Any]:
    """One row for each operation that compiled code may hold; none where there is no table yet."""
    if importlib.util.find_spec("tests.cases.ops") is None:
        return []
    rows = importlib.import_module("tests.cases.ops").ROWS
    return list({row.name: row for row in reversed(rows) if row.compiled}.values())


def of_row(row: Any) -> Any:
    """The canonical jaxpr of a row's operation, of its arrays."""
    leaves, tree = jax.tree.flatten((row.args, row.kwargs))
    places = [
        i for i, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray) and leaf.dtype != object
    ]
    operation: Any = ops
    for part in row.name.split("."):
        operation = getattr(operation, part)

    def call(*arrays: Any) -> Any:
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        args, kwargs = jax.tree.unflatten(tree, filled)
        return operation(*args, **kwargs)

    return traced(call, *(leaves[i] for i in places))


@pytest.mark.parametrize("name", CONTROL)
def test_control_flow_runs_on_the_reference_engine(name: str) -> None:
    closed = traced(CONTROL[name], X)
    assert set(census(closed.jaxpr)) <= set(PRIMITIVES) & set(LOWERINGS)
    found = interpret(closed.jaxpr, closed.consts, [X])
    for ours, expected in zip(found, jax.tree.leaves(CONTROL[name](jnp.asarray(X))), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_every_operation_is_made_of_listed_primitives() -> None:
    counts: Counter[str] = Counter()
    unlisted: dict[str, set[str]] = {}
    graphs = [(row.name, of_row(row)) for row in rows_of_the_table()]
    graphs += [(name, traced(function, X)) for name, function in CONTROL.items()]
    for operation, closed in graphs:
        names = list(census(closed.jaxpr))
        counts.update(names)
        for name in set(names) - set(PRIMITIVES):
            unlisted.setdefault(name, set()).add(operation)
    known = {limitation.primitive for limitation in NumpyEngine.limitations}
    assert not unlisted, f"primitives that are not in program/primitives.py: {unlisted}"
    assert set(counts) - set(LOWERINGS) <= known, "the NumPy engine lacks lowerings"
    assert counts["scan"] and counts["while"] and counts["cond"]
