"""The XLA engine, the default: a Program is one compiled XLA executable.

It sets no compiler options: of those that XLA's CPU compiler takes per executable (fast math,
scheduler, threads, codegen splits, optimization level...) none made loops of small steps run or
compile measurably faster. Donating the state saves a copy of it per call, not per step of a loop.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import jax
import numpy as np

from carnyx.engines.base import Compiled, Engine, Kernel
from carnyx.program.trace import Program, specs

ALIGNMENT = 64  # bytes: XLA uses memory that starts at a multiple of it without copying
LARGE = 1 << 20  # numbers from which NumPy asks the system for huge pages


class CompiledProgram:
    """A Program as XLA's executable, made at the first call."""

    def __init__(self, program: Program, module: str, donate: Sequence[str]) -> None:
        self.program = program
        given = [i for i, slot in enumerate(program.inputs) if slot.role in donate]

        def run(*values: Any) -> list[Any]:
            return program(*values)

        run.__name__ = module.removeprefix("jit_")
        self._jitted = jax.jit(run, donate_argnums=given)

    def __call__(self, values: Sequence[Any]) -> Sequence[Any]:
        return self._jitted(*values)

    def scopes(self) -> dict[str, str]:
        """Name of a piece of the executable -> the scopes that it was traced in."""
        text = self._jitted.lower(*specs(self.program.inputs)).compile().as_text()
        return dict(re.findall(r'%?([\w.-]+) = .*metadata=\{op_name="([^"]*)"', text or ""))


class XLAEngine(Engine):
    """Compiles through JAX for its default device."""

    name = "xla"

    def __init__(self) -> None:
        self._alive: WeakValueDictionary[str, CompiledProgram] = WeakValueDictionary()

    def put(self, array: Any) -> jax.Array:
        if isinstance(array, jax.Array):
            return array
        return jax.device_put(_aligned(array) if np.size(array) > LARGE else array)

    def get(self, native: Any) -> np.ndarray:
        return np.asarray(native)

    def compile(self, program: Program, donate: Sequence[str] = ()) -> Compiled:
        base = module = "jit_" + "".join(c if c.isalnum() else "_" for c in program.name)
        numbers = itertools.count(2)
        while module in self._alive:
            module = f"{base}_{next(numbers)}"
        compiled = self._alive[module] = CompiledProgram(program, module, donate)
        return compiled

    def profile(self, run: Callable[[], Any]) -> list[Kernel]:
        with tempfile.TemporaryDirectory() as folder:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0
            with jax.profiler.trace(folder, profiler_options=options):
                run()
            (file,) = Path(folder).glob("**/*.xplane.pb")
            data = jax.profiler.ProfileData.from_file(str(file))
        spent: dict[tuple[str, str], list[float]] = {}
        for event in (e for plane in data.planes for line in plane.lines for e in line.events):
            stats = dict(event.stats)
            if "hlo_op" in stats and stats.get("hlo_module") in self._alive:
                key = str(stats["hlo_module"]), str(stats["hlo_op"])
                spent.setdefault(key, []).append(event.duration_ns * 1e-9)
        scopes = {module: self._alive[module].scopes() for module, _ in spent}
        return [
            Kernel(self._alive[m].program.name, scopes[m].get(op, ""), op, sum(times), len(times))
            for (m, op), times in spent.items()
        ]


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
