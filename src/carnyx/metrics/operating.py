"""The best value of one rate where another is good enough, over thresholds.

The counts are those of `confusion.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from carnyx.core.fields import declared, tail
from carnyx.metrics.confusion import CountMetric

# Rate -> (part, rest): part / (part + rest).
RATES = {
    "precision": ("true_positives", "false_positives"),
    "recall": ("true_positives", "false_negatives"),
    "sensitivity": ("true_positives", "false_negatives"),
    "specificity": ("true_negatives", "false_positives"),
}


@tail
class OperatingPoint(CountMetric):
    """What the four share: `wanted` is the rate that is reported, `bound` the one that is asked.

    Shared arguments: num_thresholds, evenly spaced in [0, 1]; class_id, the only column that
    counts. The result is 0 where no threshold is good enough.
    """

    wanted = ""
    bound = ""

    num_thresholds: int = 200
    class_id: int | None = None
    name: str | None = None
    dtype: Any = None

    def _set_up(self) -> None:
        kind, least = type(self).__name__, getattr(self, self.bound)
        if not 0 <= least <= 1:
            raise ValueError(
                f"{kind}: {self.bound} lies in [0, 1]. Received: {self.bound}={least!r}"
            )
        count = self.num_thresholds
        if count < 1:
            raise ValueError(
                f"{kind}: num_thresholds is a whole number from 1. Received: {count!r}"
            )
        self.thresholds = [0.5] if count == 1 else np.linspace(0, 1, count).tolist()
        self._add_counts((count,))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self._accumulate(y_true, y_pred, sample_weight=sample_weight, class_id=self.class_id)

    def result(self) -> Any:
        wanted, bound = self._share(*RATES[self.wanted]), self._share(*RATES[self.bound])
        return jnp.max(jnp.where(bound >= getattr(self, self.bound), wanted, 0)).astype(self.dtype)


@declared
class SensitivityAtSpecificity(OperatingPoint):
    """The greatest sensitivity TP / (TP + FN) at a specificity TN / (TN + FP) of at least
    `specificity`, a number in [0, 1].

    >>> float(SensitivityAtSpecificity(0.5)([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])) > 0.6
    True
    """

    wanted, bound = "sensitivity", "specificity"

    specificity: float


@declared
class SpecificityAtSensitivity(OperatingPoint):
    """The greatest specificity TN / (TN + FP) at a sensitivity TP / (TP + FN) of at least
    `sensitivity`, a number in [0, 1].

    >>> float(SpecificityAtSensitivity(0.5)([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])) > 0.6
    True
    """

    wanted, bound = "specificity", "sensitivity"

    sensitivity: float


@declared
class PrecisionAtRecall(OperatingPoint):
    """The greatest precision TP / (TP + FP) at a recall TP / (TP + FN) of at least
    `recall`, a number in [0, 1].

    >>> float(PrecisionAtRecall(0.5)([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])) > 0.6
    True
    """

    wanted, bound = "precision", "recall"

    recall: float


@declared
class RecallAtPrecision(OperatingPoint):
    """The greatest recall TP / (TP + FN) at a precision TP / (TP + FP) of at least
    `precision`, a number in [0, 1].

    >>> float(RecallAtPrecision(0.5)([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])) > 0.6
    True
    """

    wanted, bound = "recall", "precision"

    precision: float


__all__ = """
    PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity SpecificityAtSensitivity
""".split()
