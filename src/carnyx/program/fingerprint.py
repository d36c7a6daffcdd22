"""Fingerprints of canonical jaxprs: two that are alike compile to the same code.

Alike are the same equations on the same shapes and types, with the same parameters, literals and
constants. The names of layers and of slots do not count: they are in no instruction. What keeps
compiled code by fingerprint is `engines/xla.py`.
"""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

MOST = 1 << 18  # bytes of constants that are compared; larger ones are seldom alike by chance

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class _Unlike(Exception):
    """Something that can be compared with nothing."""


def fingerprint(closed: ClosedJaxpr) -> Hashable | None:
    """Equal for jaxprs that are alike, and for no others; None for one that is like no other.

    It holds no array. Functions among the parameters (a canonical jaxpr has none) are alike when
    they are the same object.

    >>> import jax
    >>> one, same, other = (jax.make_jaxpr(lambda x, c=c: c * x)(1.0) for c in (2.0, 2.0, -2.0))
    >>> fingerprint(one) == fingerprint(same), fingerprint(one) == fingerprint(other)
    (True, False)
    """
    try:
        reader = _Reader()
        text = repr(reader.read(closed)).encode()
        found = blake2b(text, digest_size=32).digest(), tuple(reader.objects)
        hash(found)
    except (_Unlike, TypeError):  # an object that cannot be hashed
        return None
    return found


class _Reader:
    """Turns a jaxpr into nested tuples of plain values, whose `repr` says all of them.

    Objects that are not plain (types of arrays, enumerations, primitives) stand there by their
    number among `objects`, which compare as they do in JAX's own caches.
    """

    def __init__(self) -> None:
        self.objects: dict[Any, int] = {}
        self._variables: dict[Any, int] = {}
        self._left = MOST

    def read(self, value: Any) -> Any:
        if isinstance(value, _PLAIN):
            return value  # `repr` tells 1 from True and 1.0, and 0.0 from -0.0
        if isinstance(value, (tuple, list)):  # named ones are told apart by what holds them
            return tuple([self.read(item) for item in value])
        if isinstance(value, ClosedJaxpr):
            return self._jaxpr(value.jaxpr), [self._array(const) for const in value.consts]
        if isinstance(value, Jaxpr):
            return self._jaxpr(value)
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(value)
        return self._object(value)

    def _object(self, value: Any) -> Any:
        return "object", self.objects.setdefault(value, len(self.objects))

    def _array(self, value: Any) -> Any:
        self._left -= value.nbytes if hasattr(value, "nbytes") else 0
        if self._left < 0:
            raise _Unlike
        array = np.asarray(value)
        return array.dtype.name, array.shape, array.tobytes()

    def _jaxpr(self, jaxpr: Jaxpr) -> Any:
        heads = [[self._variable(v) for v in vs] for vs in (jaxpr.constvars, jaxpr.invars)]
        equations = [self._equation(equation) for equation in jaxpr.eqns]
        return *heads, equations, [self._atom(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any) -> Any:
        return (
            equation.primitive.name,
            [self._atom(atom) for atom in equation.invars],
            [(key, self.read(value)) for key, value in sorted(equation.params.items())],
            self._object(equation.ctx),  # the settings that it was traced under
            [self._variable(v) for v in equation.outvars],
        )

    def _variable(self, variable: Any) -> Any:
        """A variable where it gets its value: its number is that of its place, and its type."""
        self._variables[variable] = len(self._variables)
        return self._object(variable.aval)

    def _atom(self, atom: Any) -> Any:
        if isinstance(atom, Literal):
            return self._object(atom.aval), self._array(atom.val)
        return self._variables[atom]
