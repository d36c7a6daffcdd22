"""Metrics of the confusion matrix: intersection over union, and the matrix itself for reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes
from carnyx.losses.base import divide_no_nan
from carnyx.metrics.base import Metric, spread_weights


class _Matrix(Metric):
    """Sums weights into a matrix [C, C], true classes in rows, predicted ones in columns."""

    num_classes: int
    ignore_class: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        count = self.num_classes
        if not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(
                f"{type(self).__name__}: num_classes is a whole number from 1. Received: {count!r}"
            )
        self.num_classes = int(count)
        self.total_cm = self.add_variable((count, count), name="total_cm")

    def _count(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        """Adds classes of equal shape; what lies outside [0, C) is left out."""
        y_true, y_pred = (jnp.asarray(y).astype("int32") for y in (y_true, y_pred))
        weights = spread_weights(sample_weight, y_true.shape).reshape(-1)
        y_true, y_pred = y_true.reshape(-1), y_pred.reshape(-1)
        known = (jnp.minimum(y_true, y_pred) >= 0) & (
            jnp.maximum(y_true, y_pred) < self.num_classes
        )
        if self.ignore_class is not None:
            known = known & (y_true != self.ignore_class)
        place = jnp.where(known, y_true * self.num_classes + y_pred, 0)
        flat = jnp.zeros(self.num_classes**2, "float32").at[place].add(jnp.where(known, weights, 0))
        self.total_cm.assign_add(flat.reshape(self.total_cm.shape))


@dataclass(eq=False, repr=False)
class IoU(_Matrix):
    """The mean over some classes of TP / (TP + FP + FN), intersection over union.

    Weights count as they are, whatever the dtype (in Keras the default dtype, an integer, cuts
    them).

    Args:
        num_classes: C.
        target_class_ids: the classes that the mean is over; those that never occur are left out.
        ignore_class: rows of this true class do not count.
        sparse_y_true, sparse_y_pred: whether they are classes; else scores, whose greatest counts.
        axis: the axis of the scores.

    >>> float(IoU(2, [0])([0, 0, 1, 1], [0, 1, 0, 1])).__round__(4)
    0.3333
    """

    num_classes: int
    target_class_ids: Sequence[int]
    name: str | None = None
    dtype: Any = None
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True
    axis: int = -1

    def __post_init__(self) -> None:
        self.dtype = self.dtype or "int32"
        super().__post_init__()
        given = getattr(self, "target_class_ids", range(self.num_classes))
        self.target_class_ids = list(given)
        if not self.target_class_ids or max(given) >= self.num_classes:
            raise ValueError(
                f"{type(self).__name__}: target_class_ids are classes below num_classes="
                f"{self.num_classes}. Received: {given!r}"
            )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true = y_true if self.sparse_y_true else jnp.argmax(jnp.asarray(y_true), self.axis)
        y_pred = y_pred if self.sparse_y_pred else jnp.argmax(jnp.asarray(y_pred), self.axis)
        self._count(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        matrix, chosen = self.total_cm.value, np.asarray(self.target_class_ids)
        found = jnp.diagonal(matrix)[chosen]
        union = (matrix.sum(0) + matrix.sum(1))[chosen] - found
        mean = divide_no_nan(divide_no_nan(found, union).sum(), (union > 0).sum())
        return mean.astype(self.dtype if dtypes.is_float(self.dtype) else "float32")


class BinaryIoU(IoU):
    """`IoU` of two classes, scores from `threshold` being class 1.

    >>> round(float(BinaryIoU()([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])), 4)
    0.5833
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name=name, dtype=dtype)
        self.target_class_ids, self.threshold = target_class_ids, threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        scores = jnp.asarray(y_pred, "float32")
        super().update_state(y_true, scores >= self.threshold, sample_weight)


@dataclass(eq=False, repr=False)
class MeanIoU(IoU):
    """`IoU` over all classes.

    >>> round(float(MeanIoU(2)([0, 0, 1, 1], [0, 1, 0, 1])), 4)
    0.3333
    """

    target_class_ids: Sequence[int] = field(init=False)


@dataclass(eq=False, repr=False)
class OneHotIoU(IoU):
    """`IoU` of one-hot targets.

    >>> float(OneHotIoU(2, [0])([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]]))
    1.0
    """

    sparse_y_true: bool = field(default=False, init=False)
    sparse_y_pred: bool = False


@dataclass(eq=False, repr=False)
class OneHotMeanIoU(OneHotIoU):
    """`IoU` of one-hot targets over all classes.

    >>> float(OneHotMeanIoU(2)([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]]))
    1.0
    """

    target_class_ids: Sequence[int] = field(init=False)


@dataclass(eq=False, repr=False)
class ConfusionMatrix(_Matrix):
    """How often each class [row] was predicted as each class [column], for reports.

    Targets are classes [B, ...], predictions classes or scores [B, ..., C].

    Args:
        num_classes: C.
        names: of the classes, for `report` and `plot`; their numbers by default.

    >>> matrix = ConfusionMatrix(2, names=["cat", "dog"])
    >>> matrix([0, 0, 1], [0, 1, 1]).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    >>> print(matrix.report())
              precision   recall       F1  support
         cat      1.000    0.500    0.667        2
         dog      0.500    1.000    0.667        1
        mean      0.750    0.750    0.667        3
    """

    num_classes: int
    names: Sequence[str] | None = None
    name: str | None = None
    dtype: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.names = None if self.names is None else list(self.names)
        if self.names is not None and len(self.names) != self.num_classes:
            raise ValueError(
                f"ConfusionMatrix: names has one name a class. Received {len(self.names)} names "
                f"and num_classes={self.num_classes}."
            )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
        ends = (1, self.num_classes)  # a column of labels beside scores
        if (
            y_true.ndim
            and y_true.ndim == y_pred.ndim
            and (y_true.shape[-1], y_pred.shape[-1]) == ends
        ):
            y_true = y_true[..., 0]
        if y_pred.ndim == y_true.ndim + 1:
            y_pred = jnp.argmax(y_pred, -1)
        self._count(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        return self.total_cm.value.astype(self.dtype)

    def report(self) -> str:
        """Precision, recall and F1 of each class and their plain means, as a text table."""
        matrix = self.total_cm.numpy().astype("float64")
        right = np.diagonal(matrix)

        def share(part: Any, whole: Any) -> Any:
            return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

        precision, recall = share(right, matrix.sum(0)), share(right, matrix.sum(1))
        scores = [precision, recall, share(2 * precision * recall, precision + recall)]
        names = self.names or [str(i) for i in range(self.num_classes)]
        wide = max(8, *map(len, names))
        head = ("precision", "recall", "F1", "support")
        lines = [" " * (wide + 1) + " ".join(["", *(f"{h:>{max(8, len(h))}}" for h in head)])]
        rows = [*zip(names, *scores, matrix.sum(1), strict=True)]
        rows.append(("mean", *(s.mean() for s in scores), matrix.sum()))
        for name, p, r, f, count in rows:
            lines.append(f"{name:>{wide}}  {p:>9.3f} {r:>8.3f} {f:>8.3f} {count:>8g}")
        return "\n".join(lines)

    def plot(self, path: Any = None) -> Any:
        """Draws the matrix, each row as shares of its class; saved to `path` if given."""
        from matplotlib.figure import Figure

        matrix = self.total_cm.numpy()
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-12)
        names = self.names or [str(i) for i in range(self.num_classes)]
        size = 2.5 + 0.45 * self.num_classes
        figure = Figure(figsize=(size, size), layout="constrained")
        axes = figure.add_subplot(xlabel="predicted", ylabel="true")
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(
            range(self.num_classes), names, rotation=90 if max(map(len, names)) > 3 else 0
        )
        axes.set_yticks(range(self.num_classes), names)
        for row, column in np.ndindex(*matrix.shape):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{matrix[row, column]:g}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
        if path is not None:
            figure.savefig(path)
        return figure


__all__ = "BinaryIoU ConfusionMatrix IoU MeanIoU OneHotIoU OneHotMeanIoU".split()
