"""The XLA engine, the default: a Program is one compiled XLA executable.

It sets no compiler options: of those that XLA's CPU compiler takes per executable (fast math,
scheduler, threads, codegen splits, optimization level...) none made loops of small steps run or
compile measurably faster. Donating the state saves a copy of it per call, not per step of a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from carnyx.engines.base import Compiled, Engine
from carnyx.program.trace import Program


class XLAEngine(Engine):
    """Compiles through JAX for its default device."""

    name = "xla"

    def put(self, array: Any) -> jax.Array:
        return array if isinstance(array, jax.Array) else jax.device_put(array)

    def get(self, native: Any) -> np.ndarray:
        return np.asarray(native)

    def compile(self, program: Program, donate: Sequence[str] = ()) -> Compiled:
        def run(*values: Any) -> list[Any]:
            return program(*values)

        run.__name__ = "".join(c if c.isalnum() else "_" for c in program.name)
        given = [i for i, slot in enumerate(program.inputs) if slot.role in donate]
        compiled = jax.jit(run, donate_argnums=given)
        return lambda values: compiled(*values)
