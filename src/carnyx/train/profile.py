"""Model.profile: where the time of a training step goes, by layer and by operation.

The compiled Programs are measured as they run (`Engine.profile`), so that the figures are those of
the fused code itself; what is not inside them is data, callbacks and Python.
"""

from __future__ import annotations

import io
import math
import re
import time
from dataclasses import dataclass, field
from typing import Any

import jax

from carnyx.core.summary import count_text
from carnyx.engines.base import Kernel
from carnyx.program.cost import Cost, costs
from carnyx.program.trace import Program
from carnyx.train.hooks import Callback

ELSEWHERE = "loss, metrics, optimizer"
TRANSFORMED = re.compile(r"(transpose|jvp|vmap)\(([^()]*)\)")


@dataclass
class LayerTime:
    """Seconds that a step spends in one layer."""

    forward: float = 0.0
    gradient: float = 0.0
    flops: int = 0

    @property
    def seconds(self) -> float:
        return self.forward + self.gradient


@dataclass
class Profile:
    """What `Model.profile` found; all times are seconds of one step.

    Attributes:
        step: the whole, as the clock on the wall has it.
        layers: layer path -> LayerTime; what belongs to no layer is under "loss, metrics,
            optimizer".
        operations: (layer, operation) -> seconds.
        callbacks: what the callbacks took.
        waiting: what is left: reading data, Python, and starting the compiled calls.
    """

    name: str
    steps: int
    step: float
    layers: dict[str, LayerTime] = field(default_factory=dict)
    operations: dict[tuple[str, str], float] = field(default_factory=dict)
    callbacks: float = 0.0
    waiting: float = 0.0

    def __str__(self) -> str:
        from rich.console import Console
        from rich.table import Table

        title = f"{self.name}: {time_text(self.step)} a step, mean of {self.steps}"
        table = Table(title=title, title_justify="left", header_style="bold")
        table.add_column("Layer", overflow="fold")
        for column in ("Forward", "Gradient", "Share", "FLOPs", "FLOP/s"):
            table.add_column(column, justify="right")
        for layer, spent in sorted(self.layers.items(), key=lambda item: -item[1].seconds):
            pace = count_text(spent.flops / spent.seconds) if spent.seconds else "-"
            row = [layer, *(time_text(t) if t else "-" for t in (spent.forward, spent.gradient))]
            table.add_row(*row, self._share(spent.seconds), count_text(spent.flops), pace)
        table.add_section()
        for what in ("callbacks", "waiting"):
            seconds = getattr(self, what)
            table.add_row(what, time_text(seconds), "", self._share(seconds), "", "")
        lines = ["Operations that take most:"]
        most = sorted(self.operations.items(), key=lambda item: -item[1])[:8]
        lines += [
            f"  {time_text(t):>8} {self._share(t):>6}  {op} in {layer}" for (layer, op), t in most
        ]
        out = io.StringIO()
        console = Console(file=out, width=100)
        console.print(table)
        console.print("\n".join(lines), highlight=False)
        return out.getvalue().rstrip()

    def _share(self, seconds: float) -> str:
        return f"{100 * seconds / self.step:.1f} %"


def time_text(seconds: float) -> str:
    """Seconds with three digits, in s, ms or us.

    >>> time_text(0.0012345), time_text(12e-6)
    ('1.23 ms', '12 us')
    """
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def place_of(scope: str, layers: set[str]) -> tuple[str, str, bool]:
    """(layer, operation, whether it is of the gradient) of a kernel's scope.

    >>> place_of("jit(steps)/while/body/transpose(jvp(net))/dense/dot_general", {"net/dense"})
    ('net/dense', 'dot_general', True)
    """
    gradient = "transpose(" in scope
    while TRANSFORMED.search(scope):
        scope = TRANSFORMED.sub(r"\2", scope)
    parts = [p for p in scope.split("/") if p]
    names = [p for p in parts if not p.startswith("jit(") and p not in ("while", "body", "cond")]
    for stop in range(len(names), 0, -1):
        if "/".join(names[:stop]) in layers:
            composite = [p[4:-1] for p in parts if p.startswith("jit(carnyx.")]
            operation = composite[-1] if composite else names[-1]
            return "/".join(names[:stop]), operation, gradient
    return ELSEWHERE, names[-1] if names else "copy", gradient


class _Stopwatch(Callback):
    """Times a fit from its first epoch's begin to its end, without the building before."""

    sees_only_logs = True

    def on_train_begin(self, logs: Any = None) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.start


def profile(model: Any, x: Any, y: Any, steps: int, callbacks: Any, fit: dict[str, Any]) -> Profile:
    """See `Model.profile`."""
    watch = _Stopwatch()

    def run(epochs: int, hooks: Any) -> Any:
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=hooks, **fit)

    run(1, None)  # compiles, and makes the optimizer's state
    held = [(v, v._value) for v in jax.tree.leaves(_state(model))]
    run(2, None)  # finds the pace
    executor = model.executor
    per_epoch = executor.steps_run // 3
    epochs = math.ceil(steps / per_epoch)
    executor.hook_seconds = 0.0
    try:
        kernels = executor.engine.profile(lambda: run(epochs, [*(callbacks or []), watch]))
    finally:
        for variable, value in held:
            variable._value = value
    programs = [s.program for s in executor.steps.values() if s.program.name.endswith("train_step")]
    count = epochs * per_epoch
    found = _sorted_out(Profile(model.name, count, watch.seconds / count), kernels, programs)
    found.callbacks = executor.hook_seconds / count
    inside = sum(spent.seconds for spent in found.layers.values())
    found.waiting = max(0.0, found.step - inside - found.callbacks)
    return found


def _state(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def _sorted_out(found: Profile, kernels: list[Kernel], programs: list[Program]) -> Profile:
    """Fills in what the kernels say, and the operations that the Programs hold."""
    known: dict[str, Cost] = {}
    for program in programs:
        known.update(costs(program))
    layers = {layer for layer in known if layer}
    for kernel in kernels:
        if kernel.name.startswith("while"):  # the loop itself: its body's kernels are listed too
            continue
        layer, operation, gradient = place_of(kernel.scope, layers)
        spent = found.layers.setdefault(layer, LayerTime())
        seconds = kernel.seconds / found.steps
        if gradient:
            spent.gradient += seconds
        else:
            spent.forward += seconds
        key = layer, operation
        found.operations[key] = found.operations.get(key, 0.0) + seconds
    for layer, cost in known.items():
        found.layers.setdefault(layer or ELSEWHERE, LayerTime()).flops += cost.flops
    return found
