"""Resume means resume: trainings that real signals kill end with the same bits as others."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carnyx
from carnyx import callbacks, layers
from carnyx.save import backup

SCRIPT = Path(__file__).parent / "resumed_training.py"


# ---- real processes


def start(folder: Path, kind: str, frequency: int | str, pause: float) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    arguments = [str(folder), kind, json.dumps(frequency), str(pause)]
    return subprocess.Popen([sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE)


def end_of(folder: Path) -> dict[str, Any]:
    with np.load(folder / "end.npz") as file:
        return {name: file[name].tobytes() for name in file.files}


def killed(folder: Path, kind: str, frequency: int | str, choices: random.Random) -> str | None:
    """Starts the training and kills it at a random instant after its first step, if it is not
    faster; returns how."""
    how = choices.choice(["SIGKILL", "SIGTERM"])
    process = start(folder, kind, frequency, pause=0.003)
    assert process.stdout is not None
    process.stdout.readline()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=choices.uniform(0, 0.8))
    if process.poll() is None:
        process.send_signal(getattr(signal, how))
        process.communicate()
    if process.returncode == 0:
        return None
    assert process.returncode == {"SIGKILL": -9, "SIGTERM": 143}[how]
    return how


def kill_and_resume(folder: Path, kind: str, frequency: int | str, kills: int, seed: int) -> None:
    choices, wanted = random.Random(seed), folder / "whole"
    other = start(wanted, kind, frequency, pause=0.0)
    hit = sum(killed(folder / "killed", kind, frequency, choices) is not None for _ in range(kills))
    assert other.communicate() and other.returncode == 0
    if not (folder / "killed" / "end.npz").exists():
        last = start(folder / "killed", kind, frequency, pause=0.0)
        assert last.communicate() and last.returncode == 0
    assert hit
    assert end_of(folder / "killed") == end_of(wanted)
    assert not (folder / "killed" / "backup").exists(), "a finished training deletes its backups"


def test_killed_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, "arrays", 7, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "frequency"),
    [("arrays", 5), ("parts", 11), ("dataset", 6), ("stored", "epoch"), ("generator", 9)],
)
def test_twenty_kills(kind: str, frequency: int | str, tmp_path: Path) -> None:
    """Four of each kind of data."""
    kill_and_resume(tmp_path, kind, frequency, kills=4, seed=len(kind))
