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

ALIGNMENT = 64  # bytes: XLA uses memory that starts at a multiple of it without copying
LARGE = 1 << 20  # numbers from which NumPy asks the system for huge pages


class XLAEngine(Engine):
    """Compiles through JAX for its default device."""

    name = "xla"

    def put(self, array: Any) -> jax.Array:
        if isinstance(array, jax.Array):
            return array
        return jax.device_put(_aligned(array) if np.size(array) > LARGE else array)

    def get(self, native: Any) -> np.ndarray:
        return np.asarray(native)

    def compile(self, program: Program, donate: Sequence[str] = ()) -> Compiled:
        def run(*values: Any) -> list[Any]:
            return program(*values)

        run.__name__ = "".join(c if c.isalnum() else "_" for c in program.name)
        given = [i for i, slot in enumerate(program.inputs) if slot.role in donate]
        compiled = jax.jit(run, donate_argnums=given)
        return lambda values: compiled(*values)


def _aligned(array: Any) -> np.ndarray:
    """A copy that XLA uses as it is.

    XLA's own copy goes to pages of 4 KiB, faulted in one by one: 50 ms for 100 MB, where this takes
    11 ms.
    """
    source = np.asarray(array)
    memory = np.empty(source.nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    out = memory[start : start + source.nbytes].view(source.dtype).reshape(source.shape)
    out[...] = source
    return out
