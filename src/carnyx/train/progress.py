"""Progress: a live bar in a terminal, one plain line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

# A bar is drawn at most so often: drawing costs about a millisecond.
SECONDS_BETWEEN_DRAWS = 0.1


def duration(seconds: float) -> str:
    """Seconds as people read them.

    >>> duration(0.0123), duration(75), duration(3700)
    ('12ms', '1m15s', '1h01m')
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def values_text(logs: dict[str, Any]) -> str:
    """Metrics as one line.

    >>> values_text({"loss": 0.25, "accuracy": 0.9})
    'loss: 0.2500 - accuracy: 0.9000'
    """
    parts = []
    for name, value in logs.items():
        if isinstance(value, (int, float)):
            small = value != 0 and abs(value) < 1e-3
            parts.append(f"{name}: {value:.4e}" if small else f"{name}: {value:.4f}")
    return " - ".join(parts)


class Progbar:
    """A bar over `target` steps (None: unknown) that shows values as they come.

    Args:
        target: the number of steps.
        width: of the bar, in characters.
        verbose: 1 draws a bar in a terminal and a line at the end elsewhere, 2 the line alone,
            0 nothing.
        interval: the least time between two drawings, in seconds.
        stateful_metrics: names of values shown as they are; the others are averaged over steps.
        unit_name: what a step is called.

    >>> bar = Progbar(2, verbose=2)
    >>> bar.update(1, [("loss", 3.0)])
    >>> bar.values()
    {'loss': 3.0}
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = SECONDS_BETWEEN_DRAWS,
        stateful_metrics: Any = None,
        unit_name: str = "step",
    ) -> None:
        self.target, self.width, self.verbose = target, width, verbose
        self.interval, self.unit_name = interval, unit_name
        self.stateful_metrics = set(stateful_metrics or [])
        self._sums: dict[str, tuple[float, float]] = {}
        self._seen = 0
        self._began = time.perf_counter()
        self._drawn = 0.0
        self._live: Any = None

    def values(self) -> dict[str, float]:
        """The values as shown."""
        return {name: total / max(count, 1) for name, (total, count) in self._sums.items()}

    def update(self, current: int, values: Any = None, finalize: bool | None = None) -> None:
        """Step `current` (from 1) is done, with (name, value) pairs."""
        steps = max(current - self._seen, 1)
        for name, value in values or []:
            total, count = self._sums.get(name, (0.0, 0.0))
            stateful = name in self.stateful_metrics
            self._sums[name] = (value, 1) if stateful else (total + value * steps, count + steps)
        self._seen = current
        finalize = self.target is not None and current >= self.target if finalize is None else finalize
        self.draw(finalize)

    def add(self, n: int, values: Any = None) -> None:
        """`n` more steps are done."""
        self.update(self._seen + n, values)

    def draw(self, final: bool, prefix: str = "") -> None:
        """Draws the bar if it is time, or the last line."""
        now = time.perf_counter()
        live = self.verbose == 1 and sys.stdout.isatty()
        if final:
            self._close()
            if self.verbose:
                print(self.line(prefix), flush=True)
        elif live and now - self._drawn >= self.interval:
            self._drawn = now
            self._show(self.line(prefix))

    def line(self, prefix: str = "") -> str:
        """The text: steps, time, time a step, values."""
        spent = time.perf_counter() - self._began
        total = "?" if self.target is None else str(self.target)
        parts = [prefix] if prefix else []
        parts += [f"{self._seen}/{total}", duration(spent)]
        if self._seen:
            parts.append(f"{duration(spent / self._seen)}/{self.unit_name}")
        if self.target and self._seen < self.target and self._seen:
            parts.append(f"{duration(spent / self._seen * (self.target - self._seen))} left")
        text = values_text(self.values())
        return " - ".join([*parts, text] if text else parts)

    def _show(self, text: str) -> None:
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        bar = ProgressBar(
            total=self.target or 100,
            completed=self._seen,
            width=self.width,
            pulse=self.target is None,
        )
        row = Table.grid(padding=(0, 1))
        row.add_row(bar, text)
        if self._live is None:
            self._live = Live(row, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(row, refresh=True)

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
