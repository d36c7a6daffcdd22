"""Reading ahead: a thread fetches batches while the device works on earlier ones.

Small batches of one form are laid into one chunk, so that one compiled call runs many steps of them
(`train/loop.py`). The caller takes whatever is ready: a fast reader fills chunks, a slow one hands
over a batch at a time, and nothing has to be measured or set.
"""

from __future__ import annotations

import contextvars
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from carnyx.data.batches import Segment

CHUNK_BYTES = 4 * 2**20
CHUNK_STEPS = 32
ALIGNMENT = 64
DEPTH = 2  # chunks that wait at most, the one being filled counted
PATIENCE = 5.0  # seconds that closing waits for a reader that is in the middle of a batch


class Chunk:
    """Batches of one form, one below the other, in buffers with room for more."""

    def __init__(self, leaves: list[np.ndarray], tree: Any) -> None:
        self.tree, self.form = tree, form(leaves, tree)
        self.rows, self.count = len(leaves[0]), 0
        size = sum(a.nbytes for a in leaves)
        self.room = max(1, min(CHUNK_STEPS, CHUNK_BYTES // max(size, 1)))
        self.buffers = leaves
        if self.room > 1:
            self.buffers = [aligned((self.room * len(a), *a.shape[1:]), a.dtype) for a in leaves]
        self.add(leaves)

    def add(self, leaves: list[np.ndarray]) -> None:
        if self.room > 1:
            at = slice(self.count * self.rows, (self.count + 1) * self.rows)
            for buffer, leaf in zip(self.buffers, leaves, strict=True):
                buffer[at] = leaf
        self.count += 1

    def segment(self) -> Segment:
        """Its batches as steps; rows beyond them are not used."""
        order = np.arange(self.room * self.rows, dtype=np.int32)
        data = jax.tree.unflatten(self.tree, self.buffers)
        return Segment(data, order, self.rows, self.count)


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array that starts at a multiple of 64 bytes: engines can use it without a copy.

    >>> aligned((3, 5), np.dtype("float32")).ctypes.data % 64
    0
    """
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def form(leaves: list[np.ndarray], tree: Any) -> Any:
    """What batches of one chunk have in common."""
    return tree, [(a.shape, a.dtype) for a in leaves]


class ReadAhead:
    """The segments of an iterator of batches, which a thread of its own reads.

    It reads at most `DEPTH` chunks ahead. An error of the iterator is raised where its batch would
    have come. `waited` counts the seconds in which the caller waited for a batch. Close it, or use
    it up; what was read and not taken is then lost.

    >>> batches = iter([(np.ones((2, 3)), None, None)] * 5)
    >>> sum(segment.steps for segment in ReadAhead(batches))
    5
    """

    def __init__(self, batches: Iterator[tuple[Any, Any, Any]]) -> None:
        self.waited = 0.0
        self._chunks: deque[Chunk] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        context = contextvars.copy_context()  # settings of the caller's thread hold here too
        self._thread = threading.Thread(
            target=context.run, args=(self._read, batches), name="carnyx-read-ahead", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[Segment]:
        while (chunk := self._take()) is not None:
            yield chunk.segment()

    def close(self) -> None:
        """Stops reading."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)

    def _take(self) -> Chunk | None:
        began = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._ended or self._closed)
            self.waited += time.perf_counter() - began
            if self._chunks:
                chunk = self._chunks.popleft()
                self._changed.notify_all()
                return chunk
            if self._error is not None:
                raise self._error
            return None

    def _read(self, batches: Iterator[Any]) -> None:
        try:
            for batch in batches:
                leaves, tree = jax.tree.flatten(batch)
                if not self._add([canonical(a) for a in leaves], tree):
                    return
        except BaseException as error:  # it belongs to the caller, whatever it is
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _add(self, leaves: list[np.ndarray], tree: Any) -> bool:
        """Lays a batch down when there is room; whether to go on."""

        def open_chunk() -> Chunk | None:
            last = self._chunks[-1] if self._chunks else None
            if last is None or last.count == last.room or last.form != form(leaves, tree):
                return None
            return last

        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or len(self._chunks) < DEPTH or open_chunk() is not None
            )
            if self._closed:
                return False
            if (chunk := open_chunk()) is not None:
                chunk.add(leaves)
            else:
                self._chunks.append(Chunk(leaves, tree))
            self._changed.notify_all()
            return True


def canonical(array: np.ndarray) -> np.ndarray:
    """The array in the type that Programs compute in: 64-bit integers become 32-bit."""
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
