"""PyDataset: a user's batches by index, made by threads or processes.

Nothing heavy is imported here, since every worker process imports this file.
"""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any


class PyDataset:
    """Batches by index: subclass it and define `__getitem__` and `__len__`.

    `self[i]` is batch i: `(x, y)` or `(x, y, sample_weight)`; `len(self)` is the number of batches.
    Define `num_batches = None` instead of `__len__` for a dataset that never ends.
    `on_epoch_begin()` and `on_epoch_end()` are called around each epoch. `fit` shuffles the order
    of the batches unless it is told `shuffle=False`.

    Args:
        workers: how many threads or processes make batches; with one, `fit` reads ahead in a
            thread.
        use_multiprocessing: processes instead of threads, for Python code that computes. The
            dataset is pickled into fresh ("spawned") processes: define the class in a file that
            can be imported, and guard a script with `if __name__ == "__main__":`.
        max_queue_size: batches in the making or waiting at most.

    >>> class Squares(PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...
    ...     def __getitem__(self, i):
    ...         return [i], [i * i]
    >>> list(Squares(workers=2))
    [([0], [0]), ([1], [1]), ([2], [4])]
    """

    # Class attributes too: a subclass may forget to call `super().__init__`.
    workers = 1
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        for name, value in (("workers", workers), ("max_queue_size", max_queue_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(
                    f"{type(self).__name__}: {name} is a whole number from 0. Received: {value!r}"
                )
        self.workers, self.max_queue_size = workers, max_queue_size
        self.use_multiprocessing = use_multiprocessing

    def __getitem__(self, index: int) -> Any:
        """Batch number `index`."""
        raise NotImplementedError(
            f"{type(self).__name__} has no __getitem__(self, index). Define it: it returns one "
            "batch, (x, y) or (x, y, sample_weight)."
        )

    @property
    def num_batches(self) -> int | None:
        """The number of batches, None for a dataset that never ends."""
        length = getattr(self, "__len__", None)
        if length is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no __len__(self). Define it: it returns the number of "
                "batches; for a dataset that never ends, define num_batches = None."
            )
        return length()

    def on_epoch_begin(self) -> None:
        """Called at the beginning of each epoch."""

    def on_epoch_end(self) -> None:
        """Called at the end of each epoch."""

    def __iter__(self) -> Iterator[Any]:
        count = self.num_batches
        for index in itertools.count() if count is None else range(count):
            yield self[index]


def in_order(
    pool: Executor, task: Any, entries: Iterable[Any], ahead: int
) -> Iterator[tuple[Any, Any]]:
    """(entry, its future) in order, at most `ahead` of them in the making or waiting."""
    waiting: deque[tuple[Any, Any]] = deque()
    for entry in entries:
        waiting.append((entry, pool.submit(task, entry)))
        if len(waiting) >= ahead:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def map_ahead(task: Any, entries: Iterable[Any], workers: int) -> Iterator[Any]:
    """`map` by so many threads, which work ahead.

    >>> list(map_ahead(abs, [-1, -2], workers=2))
    [1, 2]
    """
    pool = ThreadPoolExecutor(workers, "carnyx-data")
    try:
        for _, future in in_order(pool, task, entries, 4 * workers):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class Runner:
    """Makes a PyDataset's batches with its workers, in the order asked for.

    Worker processes live as long as the Runner, and have the dataset as it was when they started;
    where the dataset's class changes it between epochs, each pass starts them anew.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._pool: Executor | None = None
        hooks = ("on_epoch_begin", "on_epoch_end")
        self._changes = any(_overrides(type(dataset), name) for name in hooks)

    def batches(self, order: Iterable[int]) -> Iterator[Any]:
        """The batches of these indices."""
        workers = self.dataset.workers
        if workers < 1 or (workers == 1 and not self.dataset.use_multiprocessing):
            for index in order:
                yield self._one(index)
            return
        pool, task = self._start()
        ahead = max(self.dataset.max_queue_size, workers)
        for index, future in in_order(pool, task, order, ahead):
            yield self._result(index, future)

    def _one(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            self._locate(error, index)
            raise

    def _result(self, index: int, future: Any) -> Any:
        try:
            return future.result()
        except BrokenProcessPool:
            raise RuntimeError(
                f"{type(self.dataset).__name__}: a worker process died while it made batch "
                f"{index}. A script must start its work under `if __name__ == '__main__':`, since "
                "worker processes import it; or use threads: use_multiprocessing=False."
            ) from None
        except Exception as error:
            self._locate(error, index)
            raise

    def _locate(self, error: Exception, index: int) -> None:
        error.add_note(f"in {type(self.dataset).__name__}.__getitem__({index})")

    def _start(self) -> tuple[Executor, Any]:
        dataset = self.dataset
        if not dataset.use_multiprocessing:
            self._pool = self._pool or ThreadPoolExecutor(dataset.workers, "carnyx-data")
            return self._pool, dataset.__getitem__
        if self._pool is None or self._changes:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = ProcessPoolExecutor(
                dataset.workers,
                multiprocessing.get_context("spawn"),  # a fork of a process with threads may hang
                initializer=_hold,
                initargs=(_pickled(dataset),),
            )
        return self._pool, _get


def _overrides(cls: type, name: str) -> bool:
    """Whether a class has a method other than the empty one of PyDataset (ours or Keras's)."""
    owner = next((c for c in cls.__mro__ if name in vars(c)), None)
    return owner is not None and owner.__name__ != "PyDataset"


def _pickled(dataset: Any) -> bytes:
    try:
        return pickle.dumps(dataset)
    except Exception as error:
        raise TypeError(
            f"{type(dataset).__name__} cannot be sent to worker processes ({error}). Define its "
            "class in a file that can be imported, and open files and connections in __getitem__; "
            "or use threads: use_multiprocessing=False."
        ) from error


_held: list[Any] = []  # the dataset, in a worker process


def _hold(dataset: bytes) -> None:
    _held[:] = [pickle.loads(dataset)]  # noqa: S301  # made by this program's own main process


def _get(index: int) -> Any:
    return _held[0][index]
