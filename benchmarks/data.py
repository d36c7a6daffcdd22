"""`python -m benchmarks.data`: samples a second from each kind of data, beside Keras and PyTorch.

Programs A, B and the MLP (`cases.py`) train from arrays, generators, PyDatasets, loaders and files:
the same source for each framework, one process a framework, the median of some rounds. Keras runs
on the backend that is the fastest for the program; PyTorch reads through its DataLoader what is no
loader itself. In brackets the share of the time in which the device waited for data, where the
framework lets it be measured (Keras does not).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import ROOT, environment, installed
from benchmarks.cases import CASES, Case, data
from benchmarks.models import make

FITS = {case.model: case for case in CASES if case.kind == "fit"}
FRAMEWORKS = ("carnyx", "keras", "torch")
FASTEST = {"A": "keras-tensorflow", "B": "keras-tensorflow", "MLP": "keras-jax"}  # `make bench`
TITLES = {"carnyx": "Carnyx", "keras": "Keras, its fastest backend", "torch": "PyTorch"}
PAGE = ROOT / "docs" / "data_speed.md"
TEXT = """# How fast data come

Samples a second while a model trains, and in brackets the share of the time in which the device
waits for data (Keras does not tell). Program A is the digits' convolutional network in batches of
32, B the text's two LSTMs of 128 units in batches of 128, MLP a 784-64-10 perceptron in batches of
32. Each source is the same for all: Keras runs on the backend that is the fastest for the program,
PyTorch reads through its DataLoader. `python -m benchmarks.data --docs` measures it and writes this
page.

"""


class Sources:
    """The sources of one program's data: each method makes what `fit` gets as x and y.

    Rows are shuffled where the kind of source can do so by itself.
    """

    def __init__(self, package: str, case: Case, folder: Path) -> None:
        self.package, self.case, self.folder = package, case, folder
        self.x, self.y = data(case.model, case.batch * case.steps)

    def batches(self) -> Iterator[Any]:
        for start in range(0, len(self.x), self.case.batch):
            part = slice(start, start + self.case.batch)
            yield self.x[part], self.y[part]

    def arrays(self) -> Any:
        return self.x, self.y

    def generator(self) -> Any:
        return self.batches(), None

    def pydataset(self, **arguments: Any) -> Any:
        base: Any = importlib.import_module(f"{self.package}.utils").PyDataset
        x, y, size = self.x, self.y, self.case.batch

        class Batches(base):
            def __len__(self) -> int:
                return len(x) // size

            def __getitem__(self, index: int) -> Any:
                part = slice(index * size, (index + 1) * size)
                return x[part], y[part]

        return Batches(**arguments), None

    def pydataset_2_threads(self) -> Any:
        return self.pydataset(workers=2)

    def dataloader(self) -> Any:
        import torch

        tensors = torch.utils.data.TensorDataset(*map(torch.from_numpy, (self.x, self.y)))
        return torch.utils.data.DataLoader(tensors, self.case.batch, shuffle=True), None

    def tf_data(self) -> Any:
        import tensorflow as tf

        rows = tf.data.Dataset.from_tensor_slices((self.x, self.y))
        return rows.shuffle(1024).batch(self.case.batch).prefetch(tf.data.AUTOTUNE), None

    def grain(self) -> Any:
        import grain

        pairs = list(zip(self.x, self.y, strict=True))
        rows = grain.MapDataset.source(pairs).shuffle(seed=0)
        return rows.batch(self.case.batch).to_iter_dataset(), None

    def memmap(self) -> Any:
        path = self.folder / f"{self.case.model}.npy"
        if not path.exists():
            np.save(path, self.x)
        return np.load(path, mmap_mode="r"), self.y

    def hdf5(self) -> Any:
        import h5py

        path = self.folder / f"{self.case.model}.h5"
        if not path.exists():
            with h5py.File(path, "w") as file:
                file["x"] = self.x
        return h5py.File(path)["x"], self.y

    def pandas(self) -> Any:
        import pandas

        if self.x.ndim > 2:
            raise NotImplementedError("a table has rows of numbers")
        return pandas.DataFrame(self.x), self.y


class TorchSources(Sources):
    """The same for PyTorch's users: Datasets behind a DataLoader."""

    def loader(self, dataset: Any, **arguments: Any) -> Any:
        from torch.utils.data import DataLoader

        return DataLoader(dataset, **arguments), None

    def generator(self) -> Any:
        from torch.utils.data import IterableDataset

        batches = self.batches

        class Stream(IterableDataset):
            def __iter__(self) -> Iterator[Any]:
                return batches()

        return self.loader(Stream(), batch_size=None)

    def pydataset(self, workers: int = 0) -> Any:
        batches = list(self.batches())
        return self.loader(batches, batch_size=None, shuffle=True, num_workers=workers)

    def rows(self, x: Any) -> Any:
        """Batches of rows in a new order, read by index."""
        y, size = self.y, self.case.batch

        class Rows:
            def __len__(self) -> int:
                return len(y)

            def __getitems__(self, rows: list[int]) -> Any:
                ascending = np.sort(rows)  # as HDF5 wants it; the order in a batch is no matter
                return x[ascending], y[ascending]

        return self.loader(Rows(), batch_size=size, shuffle=True, collate_fn=lambda batch: batch)

    def memmap(self) -> Any:
        return self.rows(super().memmap()[0])

    def hdf5(self) -> Any:
        return self.rows(super().hdf5()[0])

    def pandas(self) -> Any:
        x, y = super().pandas()
        return x.to_numpy(), y


#: Source -> the packages that it needs
SOURCES = {
    "arrays": (),
    "pandas": ("pandas",),
    "generator": (),
    "pydataset": (),
    "pydataset_2_threads": (),
    "dataloader": ("torch",),
    "tf_data": ("tensorflow",),
    "grain": ("grain",),
    "memmap": (),
    "hdf5": ("h5py",),
}


# ---- in a framework's process


def worker(framework: str, rounds: int, names: list[str], models: list[str]) -> None:
    """Prints one line of JSON for each model and source: samples a second and the waiting."""
    package = "carnyx" if framework == "carnyx" else "keras"
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            case = FITS[name]
            kind = TorchSources if framework == "torch" else Sources
            sources, model = kind(package, case, Path(folder)), make(framework, name)
            for source in names:
                answer: dict[str, Any] = {"model": name, "source": source}
                try:
                    run = runner(framework, model, getattr(sources, source), case.batch)
                    # the first compiles; Carnyx then measures how many steps a call may take
                    answer |= measure(run, len(sources.x), rounds, 2 if package == "carnyx" else 1)
                except Exception as error:
                    answer["error"] = f"{type(error).__name__}: {error}"[:300]
                print(json.dumps(answer), flush=True)


def measure(
    run: Callable[[], float | None], samples: int, rounds: int, warm_ups: int
) -> dict[str, Any]:
    """Medians over rounds of samples a second and of the share of waiting."""
    for _ in range(warm_ups):
        run()
    speeds, shares = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        waited = run()
        took = time.perf_counter() - began
        speeds.append(samples / took)
        shares.append(None if waited is None else waited / took)
    known = [share for share in shares if share is not None]
    return {
        "samples_per_second": statistics.median(speeds),
        "waiting": statistics.median(known) if known else None,
    }


def runner(
    framework: str, model: Any, source: Callable[[], Any], batch: int
) -> Callable[[], float | None]:
    """An epoch from the source; it returns the seconds of waiting, None where unknown."""
    if framework == "torch":
        return lambda: torch_epoch(model, source, batch)
    if framework == "carnyx":
        return lambda: carnyx_epoch(model.model, source, batch)

    def epoch() -> None:
        x, y = source()
        model.model.fit(x, y, batch_size=batch if y is not None else None, verbose=0)

    return epoch


def carnyx_epoch(model: Any, source: Callable[[], Any], batch: int) -> float:
    """`fit`, with a look at the source that it makes."""
    module = importlib.import_module("carnyx.train.model")
    adapt, made = module.adapt, []

    def watched(*args: Any, **kwargs: Any) -> Any:
        made.append(adapt(*args, **kwargs))
        return made[-1]

    module.adapt = watched  # type: ignore[attr-defined]
    try:
        x, y = source()
        model.fit(x, y, batch_size=batch if y is not None else None, verbose=0)
    finally:
        module.adapt = adapt  # type: ignore[attr-defined]
    return getattr(made[0], "waited", 0.0)


def torch_epoch(model: Any, source: Callable[[], Any], batch: int) -> float:
    """The plain loop over the source, as its users write it."""
    torch, waited = model.torch, 0.0
    x, y = source()
    if y is not None:
        model.fit(x, y, batch)
        return 0.0
    model.module.train()
    total, batches = torch.zeros(()), iter(x)
    while True:
        began = time.perf_counter()
        found = next(batches, None)
        waited += time.perf_counter() - began
        if found is None:
            break
        inputs, targets = (
            torch.as_tensor(part if torch.is_tensor(part) else np.asarray(part)) for part in found
        )
        inputs = inputs.permute(0, 3, 1, 2).contiguous() if model.name == "A" else inputs
        model.optimizer.zero_grad(set_to_none=True)
        loss = model.loss(model.module(inputs.float()), targets.argmax(1))
        loss.backward()
        model.optimizer.step()
        total += loss.detach()
    model.history = total.item()
    return waited


# ---- asking and telling


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the numbers as JSON."""
    options = parse(argv)
    if options.worker:
        worker(options.worker, options.rounds, options.sources, options.models)
        return 0
    answers = {name: ask(name, options) for name in options.frameworks}
    print_table(options, answers)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(answers, indent=1) + "\n")
    print(f"written to {options.output}")
    if options.docs:
        PAGE.write_text(TEXT + markdown(options, answers))
        print(f"the table is in {PAGE}")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    for name, known in (("frameworks", FRAMEWORKS), ("sources", SOURCES), ("models", FITS)):
        parser.add_argument(f"--{name}", default=",".join(known), help="by comma")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("out/benchmarks_data.json"))
    parser.add_argument("--docs", action="store_true", help="write docs/data_speed.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    for name, known in (("frameworks", FRAMEWORKS), ("sources", SOURCES), ("models", FITS)):
        chosen = getattr(options, name).split(",")
        if unknown := set(chosen) - set(known):
            parser.error(f"--{name}: {sorted(unknown)} are none of {', '.join(known)}")
        setattr(options, name, chosen)
    missing = [s for s in options.sources if not all(map(importlib.util.find_spec, SOURCES[s]))]
    for name in missing:
        print(f"{name} is left out: {', '.join(SOURCES[name])} is not installed")
        options.sources.remove(name)
    return options


def ask(framework: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All answers of a framework."""
    processes: dict[str, list[str]] = {}
    for model in options.models:
        processes.setdefault(FASTEST[model] if framework == "keras" else framework, []).append(
            model
        )
    answers = []
    for process, models in processes.items():
        if installed(process):
            answers += _ask(process, models, options)
        else:
            print(f"{process} is left out: it is not installed")
    return answers


def _ask(
    framework: str, models: list[str], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    command = [
        sys.executable, "-m", "benchmarks.data", "--worker", framework,
        "--rounds", str(options.rounds), "--sources", ",".join(options.sources),
        "--models", ",".join(models),
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(framework), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                print(f"{framework}: {line.strip()}", flush=True)
                yield json.loads(line)


def print_table(options: argparse.Namespace, answers: dict[str, list[dict[str, Any]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="samples a second (share of the time in which the device waits for data)")
    for name in ("program", "source", *answers):
        table.add_column(name, justify="left" if name in ("program", "source") else "right")
    for row in _rows(options, answers):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def markdown(options: argparse.Namespace, answers: dict[str, list[dict[str, Any]]]) -> str:
    """The table for the documentation."""
    head = ["Program", "Source", *(TITLES[name] for name in answers)]
    lines = [head, ["---"] * len(head), *_rows(options, answers)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rows(options: argparse.Namespace, answers: dict[str, list[dict[str, Any]]]) -> Iterator[Any]:
    for model, source in itertools.product(options.models, options.sources):
        cells = [
            _cell(next((a for a in found if (a["model"], a["source"]) == (model, source)), {}))
            for found in answers.values()
        ]
        if set(cells) != {"-"}:
            yield model, source, *cells


def _cell(answer: dict[str, Any]) -> str:
    if "samples_per_second" not in answer:
        return "-"
    share = answer["waiting"]
    return f"{answer['samples_per_second']:,.0f}" + ("" if share is None else f" ({share:.0%})")


if __name__ == "__main__":
    sys.exit(main())
