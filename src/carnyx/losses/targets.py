"""What targets a loss takes, and the errors for those that do not fit it.

All runs on the host with NumPy, once per `fit`, `evaluate` or `train_on_batch` call, before
anything is traced. Each loss function says what it takes with the decorator `expects`; the tables
below give each kind's rule. The losses themselves are in `regression.py`, `probabilistic.py` and
`margin.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    def are_one_hot(self) -> bool:
        """Whether they have the output's shape."""
        return fits(self.values.shape, self.output)

    @property
    def are_labels(self) -> bool:
        """Whether they have its shape without the axis of the classes, or with size 1 there."""
        axis = self.axis % len(self.output)
        reduced = self.output[:axis] + self.output[axis + 1 :]
        return any(fits(self.values.shape, shape) for shape in (reduced, (*reduced, 1)))


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


# What is wrong with some targets, and what to do about it.
Problems = Iterator[tuple[str, str]]


def _shape(targets: Targets) -> Problems:
    if not squeezes(targets.values.shape, targets.output):
        yield (
            "have another shape than the output, and would be broadcast against it or fail",
            "give one target per output value: reshape or select columns of the targets, or "
            "change the number of units of the last layer",
        )


def _binary(targets: Targets) -> Problems:
    bad = ~((targets.values >= 0) & (targets.values <= 1))
    if bad.any():
        yield (
            f"hold {first_bad(targets.values, bad)}, which is no probability",
            "map two classes to 0 and 1 (targets of -1 and 1: (y + 1) / 2); for more than two "
            "classes use a softmax output with loss='sparse_categorical_crossentropy'",
        )


def _one_hot(targets: Targets) -> Problems:
    if targets.are_one_hot:
        return
    classes = targets.classes
    if targets.are_labels:
        yield (
            f"look like integer labels, one number where a row of {classes} is wanted",
            "use loss='sparse_categorical_crossentropy', or one-hot the labels with "
            f"keras.utils.to_categorical(y, num_classes={classes})",
        )
    yield (
        f"have a shape that does not match an output of {classes} classes",
        "make the last layer's units and the number of columns of the targets the same",
    )


def _labels(targets: Targets) -> Problems:
    if targets.are_labels:
        return
    if targets.are_one_hot:
        yield (
            "look one-hot: they have the shape of the output",
            "use loss='categorical_crossentropy', or turn the rows into labels with "
            "numpy.argmax(y, axis=-1)",
        )
    yield (
        "have a shape that is not that of one label per prediction",
        "give one integer per prediction",
    )


def _label_values(targets: Targets) -> Problems:
    values, classes = targets.values, targets.classes
    bad = values != np.floor(values) if values.dtype.kind == "f" else np.zeros((), bool)
    if bad.any():
        yield (
            f"hold {first_bad(values, bad)}, which is no integer",
            "give integer labels; for targets that are probabilities use "
            "loss='categorical_crossentropy', for measurements loss='mean_squared_error'",
        )
    outside = values < 0
    if classes is not None:
        outside = outside | (values >= classes)
    if targets.ignore_class is not None:
        outside = outside & (values != targets.ignore_class)
    if outside.any():
        yield (
            f"hold the label {first_bad(values, outside)}, which is not in [0, {classes})",
            "number the classes from 0, and give the last layer as many units as there are classes "
            "(ignore_class=... in SparseCategoricalCrossentropy leaves a label out)",
        )


def _sequences(targets: Targets) -> Problems:
    if len(targets.output) != 3:
        yield (
            "are held against an output that has no time",
            "make the output [batch, time, classes]: logits of each frame, the blank being class 0",
        )
    if (axes := targets.values.ndim) != 2:
        yield f"have {axes} axes", "give one row of labels for each sample, padded with 0"


def _numbers(targets: Targets) -> Problems:
    if targets.values.dtype.kind in "OUSMm":
        yield (
            "are no numbers",
            "turn class names into integers, e.g. with numpy.unique(y, return_inverse=True)[1]",
        )


# Kind of targets -> what is looked at, in this order.
CHECKS: dict[str, tuple[Callable[[Targets], Problems], ...]] = {
    "same": (_numbers, _shape),
    "binary": (_numbers, _shape, _binary),
    "one_hot": (_numbers, _one_hot),
    "labels": (_numbers, _labels, _label_values),
    "sequences": (_numbers, _sequences, _label_values),
}


def check(kind: str, targets: Targets, loss: str, where: str, output_name: str | None) -> None:
    """Raises ValueError if targets do not fit a loss of this kind."""
    for look in CHECKS[kind]:
        for what, remedy in look(targets):
            of_output = f" of output '{output_name}'" if output_name else ""
            expected = EXPECTED[kind].format(classes=targets.classes)
            raise ValueError(
                f"{where}(): the targets{of_output} do not fit loss '{loss}': they "
                f"{what}.\n"
                f"  Received: {targets.values.dtype} targets of shape {targets.values.shape}\n"
                f"  Expected: {expected}; the output has shape {targets.output}\n"
                f"  Remedy: {remedy}."
            )
