"""What targets a loss takes, and the errors for those that do not fit it.

All runs on the host with NumPy, once per `fit`, `evaluate` or `train_on_batch` call, before
anything is traced. Each loss function says what it takes with the decorator `expects`; the tables
below give each kind's rule. The losses themselves are in `regression.py`, `probabilistic.py` and
`margin.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

EXPECTED = {
    "same": "numbers of the output's shape",
    "binary": "numbers in [0, 1] of the output's shape",
    "one_hot": "one-hot rows (or probabilities) of the output's shape",
    "labels": "integer labels in [0, {classes}), of the output's shape without its class axis",
    "sequences": "rows of integer labels in [1, {classes}), with 0 behind where a row is shorter",
}

WHOLE = ("labels", "sequences")  # kinds that stay integers, and have a rank of their own


def expects(kind: str) -> Callable[[Any], Any]:
    """Marks a loss function with the kind of targets that it takes, one of `EXPECTED`."""

    def mark(function: Any) -> Any:
        function.targets = kind
        return function

    return mark


class Problem(NamedTuple):
    """What is wrong with some targets, and what to do about it."""

    what: str
    remedy: str


class Targets(NamedTuple):
    """One output's targets beside the loss that is to read them."""

    values: np.ndarray
    output: tuple[int | None, ...]
    axis: int
    ignore_class: int | None

    @property
    def classes(self) -> int | None:
        return self.output[self.axis] if self.output else None

    @property
    def without_class(self) -> tuple[int | None, ...]:
        axis = self.axis % len(self.output)
        return self.output[:axis] + self.output[axis + 1 :]


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether a shape is the expected one, the batch (axis 0) and None matching anything.

    >>> fits((7, 3), (None, 3)), fits((7,), (None, 3))
    (True, False)
    """
    pairs = zip(shape[1:], expected[1:], strict=False)
    return len(shape) == len(expected) and all(e is None or s == e for s, e in pairs)


def squeezes(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether the shapes are equal up to a last axis of size 1 that one of them has.

    >>> squeezes((7,), (None, 1)), squeezes((7, 1), (None,)), squeezes((7, 5), (None, 1))
    (True, True, False)
    """
    return (
        fits(shape, expected)
        or (len(shape) > 0 and fits((*shape, 1), expected) and expected[-1] == 1)
        or (len(shape) > 1 and shape[-1] == 1 and fits(shape[:-1], expected))
    )


def first_bad(values: np.ndarray, bad: np.ndarray) -> str:
    """The first marked value and its row, and how many more there are."""
    position = np.unravel_index(int(np.argmax(bad)), bad.shape)
    row = f" in row {position[0]}" if position else ""
    count = int(bad.sum())
    return f"{values[position]}{row}" + (f" (and {count - 1} more)" if count > 1 else "")


def _shape_problem(targets: Targets) -> Problem | None:
    if squeezes(targets.values.shape, targets.output):
        return None
    return Problem(
        "have another shape than the output, and would be broadcast against it or fail",
        "give one target per output value: reshape or select columns of the targets, or change "
        "the number of units of the last layer",
    )


def _binary_problem(targets: Targets) -> Problem | None:
    bad = ~((targets.values >= 0) & (targets.values <= 1))
    if not bad.any():
        return None
    return Problem(
        f"hold {first_bad(targets.values, bad)}, which is no probability",
        "map two classes to 0 and 1 (targets of -1 and 1: (y + 1) / 2); for more than two classes "
        "use a softmax output with loss='sparse_categorical_crossentropy'",
    )


def _one_hot_problem(targets: Targets) -> Problem | None:
    shape, classes = targets.values.shape, targets.classes
    if fits(shape, targets.output):
        return None
    reduced = targets.without_class
    if fits(shape, reduced) or fits(shape, (*reduced, 1)):
        return Problem(
            f"look like integer labels, one number where a row of {classes} is wanted",
            "use loss='sparse_categorical_crossentropy', or one-hot the labels with "
            f"keras.utils.to_categorical(y, num_classes={classes})",
        )
    return Problem(
        f"have a shape that does not match an output of {classes} classes",
        "make the last layer's units and the number of columns of the targets the same",
    )


def _labels_shape_problem(targets: Targets) -> Problem | None:
    shape, reduced = targets.values.shape, targets.without_class
    if fits(shape, reduced) or fits(shape, (*reduced, 1)):
        return None
    if fits(shape, targets.output):
        return Problem(
            "look one-hot: they have the shape of the output",
            "use loss='categorical_crossentropy', or turn the rows into labels with "
            "numpy.argmax(y, axis=-1)",
        )
    return Problem(
        "have a shape that is not that of one label per prediction",
        "give one integer per prediction",
    )


def _labels_value_problem(targets: Targets) -> Problem | None:
    values, classes = targets.values, targets.classes
    if values.dtype.kind == "f":
        bad = ~(values == np.floor(values))
        if bad.any():
            return Problem(
                f"hold {first_bad(values, bad)}, which is no integer",
                "give integer labels; for targets that are probabilities use "
                "loss='categorical_crossentropy', for measurements loss='mean_squared_error'",
            )
    outside = values < 0
    if classes is not None:
        outside = outside | (values >= classes)
    if targets.ignore_class is not None:
        outside = outside & (values != targets.ignore_class)
    if not outside.any():
        return None
    return Problem(
        f"hold the label {first_bad(values, outside)}, which is not in [0, {classes})",
        "number the classes from 0, and give the last layer as many units as there are classes "
        "(ignore_class=... in SparseCategoricalCrossentropy leaves a label out)",
    )


def _sequences_problem(targets: Targets) -> Problem | None:
    output, shape = targets.output, targets.values.shape
    if len(output) != 3:
        return Problem(
            "are held against an output that has no time",
            "make the output [batch, time, classes]: logits of each frame, the blank being class 0",
        )
    if len(shape) != 2:
        return Problem(
            f"have {len(shape)} axes", "give one row of labels for each sample, padded with 0"
        )
    return None


def _type_problem(targets: Targets) -> Problem | None:
    if targets.values.dtype.kind not in "OUSMm":
        return None
    return Problem(
        "are no numbers",
        "turn class names into integers, e.g. with numpy.unique(y, return_inverse=True)[1]",
    )


# Kind of targets -> what is looked at, in this order.
CHECKS: dict[str, tuple[Callable[[Targets], Problem | None], ...]] = {
    "same": (_type_problem, _shape_problem),
    "binary": (_type_problem, _shape_problem, _binary_problem),
    "one_hot": (_type_problem, _one_hot_problem),
    "labels": (_type_problem, _labels_shape_problem, _labels_value_problem),
    "sequences": (_type_problem, _sequences_problem, _labels_value_problem),
}


def check(kind: str, targets: Targets, loss: str, where: str, output_name: str | None) -> None:
    """Raises ValueError if targets do not fit a loss of this kind."""
    for look in CHECKS[kind]:
        problem = look(targets)
        if problem is not None:
            of_output = f" of output '{output_name}'" if output_name else ""
            expected = EXPECTED[kind].format(classes=targets.classes)
            raise ValueError(
                f"{where}(): the targets{of_output} do not fit loss '{loss}': they "
                f"{problem.what}.\n"
                f"  Received: {targets.values.dtype} targets of shape {targets.values.shape}\n"
                f"  Expected: {expected}; the output has shape {targets.output}\n"
                f"  Remedy: {problem.remedy}."
            )
