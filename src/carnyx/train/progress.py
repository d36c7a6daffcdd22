"""Progress: a live bar in a terminal or notebook, one plain line an epoch elsewhere.

`Progbar` draws; `ProgbarLogger` in `hooks.py` tells it what happens in training. In a terminal Rich
draws over the line; in a notebook all bars of a `fit` share one display, a `Page` of plain text, so
that a saved notebook keeps a line an epoch.
"""

from __future__ import annotations

import atexit
import importlib
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from carnyx.core.settings import settings

# Drawing takes about a millisecond: at most so often, it is about 1 % of the time.
SECONDS_BETWEEN_DRAWS = 0.1
# Steps so close to the one before came out of the same compiled call.
BURST_SECONDS = 1e-4
NEVER = float("inf")
LINES = 100  # of a notebook's display: it is sent whole each time


def duration(seconds: float) -> str:
    """Seconds as people read them.

    >>> [duration(s) for s in (2e-5, 0.0096, 0.123, 1.2, 75, 3700)]
    ['20us', '9.6ms', '123ms', '1.2s', '1m15s', '1h01m']
    """
    if seconds < 9.995e-4:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.{1 if seconds < 9.95e-3 else 0}f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def values_text(values: Mapping[str, Any]) -> str:
    """Numbers by name as one line; others are left out.

    >>> values_text({"accuracy": 0.9, "learning_rate": 1e-4, "outputs": [1.0]})
    'accuracy: 0.9000 - learning_rate: 1.0000e-04'
    """
    parts = []
    for name, value in values.items():
        if isinstance(value, (int, float)):
            small = 0 < abs(value) < 1e-3
            parts.append(f"{name}: {value:.4e}" if small else f"{name}: {value:.4f}")
    return " - ".join(parts)


class Progbar:
    """A bar over `target` steps (None: unknown) that shows values as they come.

    Args:
        target: the number of steps, or None.
        width: of the bar, in characters.
        verbose: 1 (or "auto") a live bar in a terminal or notebook, elsewhere one line at the end;
            2 that line everywhere; 0 nothing.
        interval: the least time between two drawings, in seconds.
        stateful_metrics: names of values to show as they are; the others are averaged over the
            steps. Give these names or those of `stateless_metrics`, not both.
        stateless_metrics: names of values to average; the others are shown as they are.
        unit_name: what a step is called.
        prefix: what the line begins with, such as "Epoch 1/5".

    >>> bar = Progbar(4, verbose=2)
    >>> bar.update(1, [("loss", 3.0)])
    >>> bar.add(2, [("loss", 1.5)])  # the mean of two steps
    >>> bar.values
    {'loss': 2.0}
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int | str = 1,
        interval: float = SECONDS_BETWEEN_DRAWS,
        stateful_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
        *,
        stateless_metrics: Iterable[str] | None = None,
        prefix: str = "",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Progbar: give stateful_metrics or stateless_metrics, not both.")
        self.target, self.width, self.interval = target, width, interval
        self.verbose = 1 if verbose == "auto" else verbose
        self.unit_name, self.prefix = unit_name, prefix
        self.stateful_metrics = None if stateful_metrics is None else set(stateful_metrics)
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self.values: dict[str, Any] = {}
        self._weights: dict[str, int] = {}
        self._seen = 0
        self._began = time.perf_counter()
        self._first: tuple[int, float] | None = None  # (steps, time) of the first call
        self._last = self._began  # the time of the last step
        self._next_draw = self._began + interval if self.verbose == 1 and is_live() else NEVER
        self._live: Any = None
        self.page = notebook_page() if self._next_draw != NEVER else None

    def update(self, current: int, values: Any = None, finalize: bool | None = None) -> None:
        """Says that `current` steps are done, with (name, value) pairs of the steps since.

        `finalize` says whether these are the last and hold for the whole; by default they are when
        `current` reaches the target.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        steps = max(current - self._seen, 1)
        for name, value in values or ():
            old = 0 if finalize or not self._averaged(name) else self._weights.get(name, 0)
            mean = value if not old else (self.values[name] * old + value * steps) / (old + steps)
            self.values[name], self._weights[name] = mean, old + steps
        self.advance(current)
        if finalize:
            self.finish()

    def add(self, n: int, values: Any = None) -> None:
        """`n` more steps are done."""
        self.update(self._seen + n, values)

    def _averaged(self, name: str) -> bool:
        if self.stateless_metrics is not None:
            return name in self.stateless_metrics
        return name not in (self.stateful_metrics or ())

    def advance(self, current: int) -> None:
        """Counts steps, and draws when it is time."""
        now = time.perf_counter()
        if current > self._seen:
            first = self._first
            if first is None:
                self._first = (current, now)
            elif first[0] == self._seen and now - self._last < BURST_SECONDS:
                self._first = (current, first[1])
            self._seen, self._last = current, now
        if now >= self._next_draw:
            self._next_draw = now + self.interval
            self._draw()
            self._last = time.perf_counter()

    def finish(self) -> None:
        """Prints the line that stays."""
        self.close()
        if not self.verbose:
            return
        if self.target is None:
            self.target = self._seen
        if self._next_draw == NEVER:
            print(self.line(final=True), flush=True)
        elif self.page is not None:
            self.page.show(self._text(final=True), final=True)
        else:
            _console().print(self._row(final=True))

    def seconds_per_step(self) -> float:
        """The time of a step, without the first call's if that was slow: the compiler's work.

        In a later epoch the first call may have had all but the smaller last batch.
        """
        steps, since = self._first or (0, self._began)
        whole = (self._last - self._began) / max(self._seen, 1)
        if self._seen == steps:
            return whole
        return min(whole, (self._last - since) / (self._seen - steps))

    def line(self, final: bool = False) -> str:
        """The text: steps, time, time a step, time left, values."""
        counted = f"{self._seen}/{'?' if self.target is None else self.target}"
        return " - ".join(p for p in (self.prefix, counted, self._info(final)) if p)

    def _info(self, final: bool) -> str:
        per_step = self.seconds_per_step()
        parts = [duration(time.perf_counter() - self._began)]
        # After the first call alone, which compiles, a forecast would be far too long.
        known = final or (self._first is not None and self._seen > self._first[0])
        if self._seen and known:
            parts.append(f"{duration(per_step)}/{self.unit_name}")
        if not final and known and self.target and self._seen < self.target:
            parts.append(f"{duration(per_step * (self.target - self._seen))} left")
        return " - ".join([*parts, *filter(None, [values_text(self.values)])])

    def _text(self, final: bool) -> str:
        """The line with a bar of characters."""
        filled = self.width if final else self.width * self._seen // (self.target or self.width)
        bar = "━" * filled + "─" * (self.width - filled) if final or self.target else ""
        return " ".join(p for p in (self._head(final), bar, self._info(final)) if p)

    def _head(self, final: bool) -> str:
        total = self.target or (self._seen if final else "?")
        return f"{self.prefix} {self._seen}/{total}".strip()

    def _row(self, final: bool) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        total = self.target or (self._seen if final else None)
        bar = ProgressBar(total=total, completed=self._seen, width=self.width, pulse=total is None)
        row = Table.grid(padding=(0, 1))
        row.add_row(Text(self._head(final), style="bold"), bar, Text(self._info(final)))
        return row

    def _draw(self) -> None:
        from rich.live import Live

        if self.page is not None:
            return self.page.show(self._text(final=False))
        if self._live is None:
            _close_open()  # one that an exception left behind
            self._live = Live(console=_console(), auto_refresh=False, transient=True)
            self._live.start()
            _open.append(self)
        self._live.update(self._row(final=False), refresh=True)

    def close(self) -> None:
        """Takes the live bar away and gives the terminal back; called again it does nothing."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            _open.remove(self)


class Page:
    """One display of a notebook: lines that stay, and below them the bar that moves.

    Of many lines the last are shown. What an exception interrupts stays as it was.

    Args:
        display: IPython's function of this name.
    """

    def __init__(self, display: Any) -> None:
        self._display, self._handle = display, None
        self._lines: list[str] = []

    def show(self, line: str, final: bool = False) -> None:
        """Shows a line in the place of the one before, unless that was `final`."""
        lines = [*self._lines[1 - LINES :], line]
        if len(self._lines) >= LINES:
            lines[0] = f"... {len(self._lines) + 2 - LINES} lines before"
        data = {"text/plain": "\n".join(lines)}
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
        if final:
            self._lines.append(line)


def notebook_page() -> Page | None:
    """A new display if this runs in a notebook's kernel, else None."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return None
    return Page(importlib.import_module("IPython.display").display)


_open: list[Progbar] = []


def _close_open() -> None:
    for bar in list(_open):
        bar.close()


atexit.register(_close_open)  # a live bar hides the cursor: an exception must not leave it hidden


def is_live() -> bool:
    """Whether the output can be drawn over: a terminal or a notebook."""
    drawable = notebook_page() is not None or bool(getattr(sys.stdout, "isatty", bool)())
    return drawable and settings["interactive_logging"]


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)
