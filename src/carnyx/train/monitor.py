"""MonitorCallback: what callbacks share that watch one value in the logs.

The callbacks themselves are in `callbacks.py` and `orbax.py`.
"""

from __future__ import annotations

import math
import operator
import warnings
from typing import Any

import numpy as np

from carnyx.core.config import snake_case
from carnyx.core.errors import nearest
from carnyx.train.hooks import Callback

# What parts of a metric's name say about which way is better, for metrics that do not say it.
RISING = (
    "accuracy acc auc precision recall sensitivity specificity f1 fbeta f_score iou io_u r2 "
    "cosine_similarity true_positives true_negatives pearson concordance top_k dice"
).split()
FALLING = (
    "loss error crossentropy mse rmse mae mape msle hinge poisson divergence kld log_cosh logcosh "
    "perplexity false_positives false_negatives"
).split()


class MonitorCallback(Callback):
    """Base of callbacks that watch one value in the logs and know which way is better.

    Args:
        monitor: the name in the logs.
        mode: "min", "max", or "auto": as the metric says, by itself or by its name.
        min_delta: the least change that counts as better.
    """

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ValueError(
                f"{type(self).__name__}: mode is 'auto', 'min' or 'max'. Received: {mode!r}"
            )
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.best: float | None = None
        self._sign = {"min": -1, "max": 1, "auto": 0}[mode]
        self._warned = False

    def _direction(self) -> int:
        """1 if greater is better, -1 if smaller is."""
        if not self._sign:
            self._sign = self._inferred()
        return self._sign

    def _inferred(self) -> int:
        name = self.monitor.removeprefix("val_")
        known = [m for m in getattr(self.model, "metrics", None) or [] if m.name == name]
        for metric in known:
            said = getattr(metric, "_direction", None)
            if said in ("up", "down"):
                return 1 if said == "up" else -1
        for text in [snake_case(type(m).__name__) for m in known] + [name.lower()]:
            for sign, parts in ((-1, FALLING), (1, RISING)):
                if any(part in text for part in parts):
                    return sign
        raise ValueError(
            f"{type(self).__name__}: nothing says whether {self.monitor!r} should rise or fall. "
            "Pass mode='max' if greater is better, mode='min' if smaller is."
        )

    def _better(self, value: float, reference: float | None) -> bool:
        """Whether `value` beats the reference by `min_delta`; NaN beats nothing."""
        if reference is None:
            return not math.isnan(value)
        sign = self._direction()
        ahead = operator.gt if sign > 0 else operator.lt
        return ahead(value - sign * self.min_delta, reference)

    def _value(self, logs: Any, effect: str) -> float | None:
        """The watched value; a warning (once) if the logs have none."""
        value = (logs or {}).get(self.monitor)
        if value is not None and np.ndim(value) > 0:
            raise ValueError(
                f"{type(self).__name__}: {self.monitor!r} has {np.size(value)} values. Expected "
                "one number: watch another name, or average the metric."
            )
        if value is None and not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not in the logs: "
                f"{effect}. Available: {', '.join(logs or {}) or 'nothing'}."
                f"{nearest(self.monitor, logs or {})}",
                stacklevel=2,
            )
        return value
