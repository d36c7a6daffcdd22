"""BackupAndRestore: a training that is killed goes on where it was, as if nothing had happened.

What a snapshot holds is in `run.py`, the file in `save/backup.py`.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

from carnyx.save import backup
from carnyx.train.hooks import Callback
from carnyx.train.run import Run


class BackupAndRestore(Callback):
    """Keeps backups of a training; a `fit` that finds one goes on from there.

    Run the same program again after it was killed: weights, optimizer, metrics, random seeds, the
    order of the data and the place in it, History and what the other callbacks remember are those
    of the backup, also in the middle of an epoch, and the training ends with the very weights that
    it would have had. Files are written while training goes on; whenever the power fails, a whole
    one is there. One that cannot be written, as on a full disk, is a warning: training goes on, and
    the one before stays. On SIGTERM a last one is written, and the process ends (`SystemExit`,
    status 143).

    The data must be the same again: arrays, a PyDataset and stored rows are taken up at their
    place; a generator is gone through up to it, and so is what else gives batches, where of passes
    before only the first batch is taken.

    Args:
        backup_dir: the folder, of this training alone; it is made.
        save_freq: "epoch", a number of batches (counted on over epochs), or False: only on
            SIGTERM. Writing takes at most a tenth of the time, if a second is enough for that:
            of the backups that come meanwhile the newest is written.
        double_checkpoint: whether the backup before the last is kept too, for the case that the
            last cannot be read.
        delete_checkpoint: whether the backups are deleted when the training is finished.

    Unlike in Keras, History continues; Keras goes on at the epoch's beginning, in another order.

    Raises (in `fit`):
        ValueError: no backup in the folder is whole, or it is of another model or other data.
        OSError: the folder cannot be made.

    >>> BackupAndRestore("backup", save_freq=50).steps_until_look()
    50
    """

    def __init__(
        self,
        backup_dir: Any,
        save_freq: int | str = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not os.fspath(backup_dir):
            raise ValueError("BackupAndRestore: backup_dir is empty. Name a folder.")
        by_batch = type(save_freq) is int and save_freq > 0
        if save_freq != "epoch" and save_freq is not False and not by_batch:
            raise ValueError(
                "BackupAndRestore: save_freq is 'epoch', a number of batches from 1, or False. "
                f"Received: {save_freq!r}"
            )
        self.backup_dir, self.save_freq = backup_dir, save_freq
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        folder = Path(os.fspath(backup_dir))
        self._latest, self._previous = folder / "latest.npz", folder / "previous.npz"
        self._writer = backup.BackgroundWriter(self._write)
        self._saved_at = 0  # the run's steps when the last backup was made
        self._run: Run | None = None
        self._before_test: Any = None  # a snapshot, in case that validation is interrupted
        self._after_epoch: Any = None  # a snapshot, in case that the end of training is
        self._failure: OSError | None = None  # of the writing thread, not yet told
        self._asked = False  # to save and to end
        self._handler: Any = None  # of SIGTERM, before ours

    # ---- files

    def _write(self, snapshot: Any) -> None:
        """The writing thread's work."""
        try:
            backup.write(self._latest, snapshot, self._previous if self.double_checkpoint else None)
        except OSError as error:
            self._failure = error

    def _tell_failure(self) -> None:
        error, self._failure = self._failure, None
        if error is not None:
            some = self._latest.exists() or self._previous.exists()
            left = "the one before is whole" if some else "there is none yet"
            warnings.warn(
                f"BackupAndRestore: a backup could not be written: {error}. Training goes on; "
                f"{left}, and the next is tried when it is due.",
                stacklevel=2,
            )

    def _read(self) -> Any:
        """The newest backup that is whole; None if there is no file."""
        found = [path for path in (self._latest, self._previous) if path.exists()]
        broken = []
        for path in found:
            try:
                return backup.read(path)
            except backup.BrokenBackupError as error:
                broken.append(str(error))
                if path != found[-1]:
                    warnings.warn(f"{error}. The one before is taken.", stacklevel=2)
        if broken:
            raise ValueError(
                "BackupAndRestore: there is a backup, and it cannot be read.\n  "
                + "\n  ".join(broken)
                + f"\nDelete {self._latest.parent} to begin anew."
            )
        return None

    def _delete(self) -> None:
        for path in (self._latest, self._previous):
            path.unlink(missing_ok=True)
            backup.partial_of(path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others' files stay
            self._latest.parent.rmdir()

    # ---- hooks

    def steps_until_look(self, mode: str = "train") -> float:
        if mode != "train" or self.save_freq in ("epoch", False):
            return math.inf
        done = self._run.steps - self._saved_at if self._run else 0
        return int(self.save_freq) - done

    def on_train_begin(self, logs: Any = None) -> None:
        run = self._run = self.model._fitting
        run.record()
        self._saved_at, self._asked = 0, False
        self._latest.parent.mkdir(parents=True, exist_ok=True)
        self._writer = backup.BackgroundWriter(self._write)
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, self._ask)
        saved = self._read()
        if saved is not None:
            run.restore(saved)

    def _at_rest(self, run: Run) -> None:
        self._tell_failure()
        if self._asked:
            self._end(run.snapshot())
        if self.save_freq == "epoch":
            due = run.batch == 0
        else:
            due = self.save_freq and run.steps - self._saved_at >= int(self.save_freq)
        snapshot = run.snapshot() if due or run.batch == 0 else None
        self._after_epoch = snapshot if run.batch == 0 else None
        if due:
            self._saved_at = run.steps
            self._writer.put(snapshot)

    def on_test_begin(self, logs: Any = None) -> None:
        if self._run is not None:
            self._before_test = self._run.snapshot()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._asked and self._run is not None:
            self._end(self._before_test)

    def on_test_end(self, logs: Any = None) -> None:
        self._before_test = None

    def on_train_end(self, logs: Any = None) -> None:
        self._writer.flush()
        self._tell_failure()
        if self._asked and self._after_epoch:
            self._end(self._after_epoch)
        if self.delete_checkpoint:
            self._delete()

    def _release(self) -> None:
        self._run = self._before_test = self._after_epoch = None
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
            self._handler = None
        self._writer.flush()
        self._tell_failure()
        asked, self._asked = self._asked, False
        if asked:  # too late for a backup, or an exception came before it
            signal.raise_signal(signal.SIGTERM)

    # ---- SIGTERM

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True

    def _end(self, snapshot: Any) -> None:
        """A last backup; then what SIGTERM meant before, and the end."""
        self._writer.put(snapshot)
        self._writer.flush()
        before, self._asked = self._handler, False
        self._release()
        if callable(before):
            before(signal.SIGTERM, None)
        raise SystemExit(128 + signal.SIGTERM)
