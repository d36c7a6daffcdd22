"""The XLA engine, the default: a Program is one compiled XLA executable.

It sets no compiler options: of those that XLA's CPU compiler takes per executable (fast math,
scheduler, threads, codegen splits, optimization level...) none made loops of small steps run or
compile measurably faster. Donating the state saves a copy of it per call, not per step of a loop.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary, finalize, ref

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from carnyx.engines import native
from carnyx.engines.base import Compiled, Engine, Kernel
from carnyx.program.fingerprint import fingerprint
from carnyx.program.trace import Program, specs

ALIGNMENT = 64  # bytes: XLA uses memory that starts at a multiple of it without copying
KEPT = 32  # executables for models to come: 5 to 8 MB each
KEPT_BYTES = 1 << 28  # of memory for data to come
LARGE = 1 << 20  # numbers from which NumPy asks the system for huge pages


class Executable:
    """What XLA makes of a Program at the first call, for that Program and all that are alike."""

    def __init__(self, program: Program, module: str, donated: Sequence[int]) -> None:
        on_cpu = jax.default_backend() == "cpu"
        jaxpr = native.with_kernels(program.jaxpr) if on_cpu else program.jaxpr

        def run(*values: Any) -> list[Any]:
            return jaxpr_as_fun(jaxpr)(*values)

        run.__name__ = module.removeprefix("jit_")
        self.module, self.donated = module, donated
        self.run = jax.jit(run, donate_argnums=donated)
        self.caller: Callable[[], CompiledProgram | None] = lambda: None  # the last one


class CompiledProgram:
    """A Program with the executable that runs it."""

    def __init__(self, program: Program, executable: Executable) -> None:
        self.program, self._executable = program, executable
        self._itself = ref(self)

    def __call__(self, values: Sequence[Any]) -> Sequence[Any]:
        self._executable.caller = self._itself
        return self._executable.run(*values)

    def scopes(self) -> dict[str, str]:
        """Name of a piece of the executable -> the scopes that it was traced in.

        They are this Program's own: XLA names the pieces of Programs that are alike alike.
        """
        own = Executable(self.program, self._executable.module, self._executable.donated)
        text = own.run.lower(*specs(self.program.inputs)).compile().as_text()
        return dict(re.findall(r'%?([\w.-]+) = .*metadata=\{op_name="([^"]*)"', text or ""))


class XLAEngine(Engine):
    """Compiles through JAX for its default device.

    Programs that are alike share one executable: a model of the same layers as an earlier one
    compiles nothing. The executables used last are kept when their models are gone.
    """

    name = "xla"

    def __init__(self) -> None:
        self._kept: dict[Hashable, Executable] = {}  # the one used last stands last
        self._alive: WeakValueDictionary[str, Executable] = WeakValueDictionary()
        self._memory = _Memory()
        self._lock = Lock()  # models may be trained in threads

    def put(self, array: Any) -> jax.Array:
        if isinstance(array, jax.Array):
            return array
        return jax.device_put(self._memory.copy(array) if np.size(array) > LARGE else array)

    def get(self, native: Any) -> np.ndarray:
        return np.asarray(native)

    def compile(self, program: Program, donate: Sequence[str] = ()) -> Compiled:
        donated = tuple(i for i, slot in enumerate(program.inputs) if slot.role in donate)
        alike = fingerprint(program.jaxpr)
        key = None if alike is None else (alike, donated)
        with self._lock:
            executable = self._kept.pop(key, None) or self._executable(program, donated)
            if key is not None:
                self._kept[key] = executable
            while len(self._kept) > KEPT:
                self._kept.pop(next(iter(self._kept)))
        return CompiledProgram(program, executable)

    def _executable(self, program: Program, donated: Sequence[int]) -> Executable:
        """A new one, whose name no other has: profiles tell them apart by it."""
        base = module = "jit_" + "".join(c if c.isalnum() else "_" for c in program.name)
        numbers = itertools.count(2)
        while module in self._alive:
            module = f"{base}_{next(numbers)}"
        executable = self._alive[module] = Executable(program, module, donated)
        return executable

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
        called = {module: self._alive[module].caller() for module, _ in spent}
        found = {m: (c.program.name, c.scopes()) for m, c in called.items() if c is not None}
        return [
            Kernel(found[m][0], found[m][1].get(op, ""), op, sum(times), len(times))
            for (m, op), times in spent.items()
            if m in found
        ]


class _Memory:
    """Blocks that arrays of the host are copied to, some of them kept for the next time.

    A new block is given page by page when it is first written to: 11 to 50 ms for 100 MB, and 220
    ms on virtual machines that take back what is free.
    """

    def __init__(self) -> None:
        self._kept: dict[int, np.ndarray] = {}  # the block that was used last stands last

    def copy(self, array: Any) -> np.ndarray:
        """A copy that XLA uses as it is; its block is kept when nothing refers to it any more."""
        source = np.asarray(array)
        whole = np.asarray(self._block(source.nbytes + ALIGNMENT))
        start = -whole.ctypes.data % ALIGNMENT
        out = whole[start : start + source.nbytes].view(source.dtype).reshape(source.shape)
        out[...] = source
        return out

    def _block(self, size: int) -> _Block:
        fitting = (key for key, kept in [*self._kept.items()] if size <= kept.nbytes <= 2 * size)
        memory = self._kept.pop(next(fitting, -1), None)
        memory = np.empty(size, np.uint8) if memory is None else memory
        block = _Block(memory)
        finalize(block, self._keep, memory)
        return block

    def _keep(self, memory: np.ndarray) -> None:
        self._kept[id(memory)] = memory
        while sum(kept.nbytes for kept in [*self._kept.values()]) > KEPT_BYTES:
            self._kept.pop(next(iter(self._kept)), None)


class _Block:
    """Memory of an array. All arrays that use it refer to this object."""

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__ = memory.__array_interface__
