"""The loop: batches through compiled steps, many steps in one call.

One call runs as many steps as take about 0.3 s (measured, not assumed), so that the cost of a call
is not noticed and the progress bar still moves; every step's own logs come back with it. A call
ends where a callback must see the weights; if it must after each step, a call is one step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from carnyx.core.state import Changes
from carnyx.data.batches import Segment
from carnyx.engines import get_engine
from carnyx.program.births import Birth, find_birth, is_finite
from carnyx.program.loop import repeat
from carnyx.train.step import Signature, Step, canonical_dtype, trace_step

CAPACITY = 1024  # the most steps in one call
SECONDS_PER_CALL = 0.3


class Call(NamedTuple):
    """A call of many steps as it was made, to be looked into when something went wrong."""

    step: Step
    run: Callable[..., Any]
    state: list[Any]
    arrays: list[Any]
    order: Any
    start: int
    count: int
    batch_size: int


def nothing() -> None:
    """What an observer without wishes does."""


class Observer(NamedTuple):
    """Who follows the steps of a loop.

    after: takes each step's logs and says whether to go on. before: is called before each step:
    of a call's first before it runs, of the others before their logs are handed over. until_look:
    how many steps may run in the next call. at_rest: is called when the variables are those after
    the step whose logs came last.
    """

    after: Callable[[dict[str, float]], bool]
    before: Callable[[], None] = nothing
    until_look: Callable[[], float] = lambda: math.inf
    at_rest: Callable[[], None] = nothing


class Executor:
    """Runs a model's steps on an engine; keeps the compiled ones.

    With `watch` on, it keeps the state before each of the last two calls too.
    """

    watch = False
    steps_run = 0
    hook_seconds = 0.0  # what callbacks took so far

    def __init__(self, model: Any, engine: str | None) -> None:
        self._watched: list[Call] = []
        self.model, self.engine = model, get_engine(engine)
        self.steps: dict[Signature, Step] = {}
        self.calls: dict[Any, Any] = {}
        self.pace: dict[Any, float] = {}  # seconds that one step takes
        self._placed: dict[int, tuple[Any, Any]] = {}  # id of a host array -> (it, on the device)
        self._variables: list[Any] = []  # what the model had when steps were traced
        self._looked = -1  # the count of changes when that was last looked at

    def _look(self) -> None:
        """Forgets the steps of other variables than the model has: it got LoRA, another head..."""
        self._looked, now = Changes.count, self.model.variables
        if [*map(id, now)] != [*map(id, self._variables)]:
            self._variables = now  # held, so that their ids stay their own
            for known in (self.steps, self.calls, self.pace):
                known.clear()

    def step(self, mode: str, data: Any, batch_size: int) -> tuple[Signature, Step]:
        """The traced step for such data; traced when a signature is new."""
        self._look()
        trained: tuple[int, ...] = ()
        if mode != "predict":  # in a test too: the regularizers of what is trained count
            trained = tuple(id(v) for v in self._variables if v.trainable)
        signature = Signature.of(mode, data, batch_size, trained)
        if signature not in self.steps:
            self.steps[signature] = trace_step(self.model, signature)
        return signature, self.steps[signature]

    def run(
        self, mode: str, segment: Segment, observer: Observer, fixed: int | None = None
    ) -> bool:
        """Runs a segment's steps, `fixed` in a call if that is given; whether to go on."""
        signature, step = self.step(mode, segment.data, segment.batch_size)
        arrays = [self.place(a) for a in jax.tree.leaves(segment.data)]
        rows = tuple(np.shape(a)[0] for a in jax.tree.leaves(segment.data))
        key = (signature, rows, len(segment.order))
        if key not in self.calls:
            program = repeat(step.program, CAPACITY, rows[0], len(segment.order))
            self.calls[key] = self.engine.compile(program)
        call, order = self.calls[key], self.engine.put(segment.order)
        start = segment.first
        while start < segment.steps:
            most = min(observer.until_look(), segment.steps - start, CAPACITY)
            count = int(min(self._wanted(key, fixed), most))
            observer.before()
            began = time.perf_counter()
            state = self._state(step)
            if self.watch:
                made = Call(step, call, state, arrays, order, start, count, segment.batch_size)
                self._watched = [*self._watched[-1:], made]
            outputs = call([*state, *arrays, order, np.int32(start), np.int32(count)])
            self._keep(step, outputs)
            logs = [self.engine.get(out) for out in outputs[len(step.variables) :]]
            self._measure(key, (time.perf_counter() - began) / count)
            start += count
            self.steps_run += count
            began, go_on = time.perf_counter(), True
            for i in range(count):
                if i:
                    observer.before()
                values = {n: _plain(v[i]) for n, v in zip(step.logs, logs, strict=True)}
                go_on = observer.after(values)
            observer.at_rest()
            self.hook_seconds += time.perf_counter() - began
            if not go_on:
                return False
        return True

    def find_birth(self) -> Birth | None:
        """Where the first number that is not finite was born, in the last two calls' steps."""
        for call in self._watched:
            state = list(call.state)
            for i in range(call.start, call.start + call.count):
                out = call.run([*state, *call.arrays, call.order, np.int32(i), np.int32(1)])
                if all(is_finite(self.engine.get(value)) for value in out):
                    state = list(out[: len(state)])
                    continue
                rows = self.engine.get(call.order)[i * call.batch_size :][: call.batch_size]
                batch = [self.engine.get(a)[rows] for a in call.arrays]
                return find_birth(call.step.program, [*map(self.engine.get, state), *batch])
        return None

    def predict(self, batch: Any) -> Any:
        """The outputs for one batch of arrays, as NumPy arrays."""
        if self._looked != Changes.count:
            self._look()
        leaves, tree = jax.tree.flatten(batch)
        key = (tree, *((a.shape, a.dtype) for a in leaves))
        known = self.calls.get(key)
        if known is None:
            _, step = self.step("predict", batch, leaves[0].shape[0])
            known = self.calls[key] = (self.engine.compile(step.program), step)
        call, step = known
        outputs = call([*self._state(step), *map(_canonical, leaves)])
        for variable, value in zip(step.changed, outputs, strict=False):
            variable._value = value
        found = [self.engine.get(out) for out in outputs[len(step.changed) :]]
        return jax.tree.unflatten(step.output_tree, found)

    def _state(self, step: Step) -> list[Any]:
        return [self.engine.put(v._value) for v in step.variables]

    def _keep(self, step: Step, outputs: Any) -> None:
        for variable, value in zip(step.variables, outputs, strict=False):
            variable._value = value

    def _wanted(self, key: Any, fixed: int | None) -> int:
        """Steps of a call as asked for, or as many as take the time of one."""
        if fixed is not None:
            return fixed
        pace = self.pace.get(key)
        return 1 if pace is None else max(1, int(SECONDS_PER_CALL / pace))

    def _measure(self, key: Any, seconds: float) -> None:
        """The first call of all compiles: it is not a measure of the pace."""
        if key in self.pace:
            self.pace[key] = 0.5 * (self.pace[key] + min(seconds, 4 * self.pace[key]))
        elif (key, "warm") in self.calls:
            self.pace[key] = seconds
        else:
            self.calls[key, "warm"] = self.calls[key]

    def place(self, array: Any) -> Any:
        """The array on the device; resident ones are there already."""
        known = self._placed.get(id(array))
        return self.engine.put(_canonical(array)) if known is None else known[1]

    def keep_data(self, arrays: Any) -> None:
        """Puts arrays that many steps use on the device, until `forget_data`."""
        for array in jax.tree.leaves(arrays):
            if id(array) not in self._placed:  # the array is held, so its id stays its own
                self._placed[id(array)] = (array, self.place(array))

    def forget_data(self) -> None:
        """Lets go of the data of a finished `fit`."""
        self._placed.clear()
        self._watched.clear()
        self.watch = False


def _canonical(array: Any) -> Any:
    """The array in the type that Programs have for it; the adapters saw that its numbers fit."""
    dtype = canonical_dtype(array.dtype)
    return array if array.dtype == dtype else array.astype(dtype)


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value
