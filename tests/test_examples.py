"""The examples and the commands, run as a newcomer runs them, on as little data as they take."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import carnyx

ROOT = Path(__file__).resolve().parents[1]


def run(*args, cwd=ROOT, timeout=300):
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def with_carnyx_written_in(example, folder):
    """The example with `keras` replaced by `carnyx` in its imports."""
    source = (ROOT / "examples" / example).read_text()
    source = re.sub(r"^(import|from) keras\b", r"\1 carnyx", source, flags=re.MULTILINE)
    path = folder / example
    path.write_text(source.replace("keras.utils.", "carnyx.utils."))
    return path


def results(output):
    """What a program printed, less the progress with its times."""
    lines = output.splitlines()
    return [line for line in lines if line.startswith(("held-out", "generated", "-----"))]


@pytest.mark.parametrize(
    ("example", "args"),
    [
        pytest.param("mnist_cnn.py", ["1"], marks=pytest.mark.slow),
        ("text_generation.py", ["1", "3000"]),
    ],
)
def test_both_ways_of_running_give_the_same(example, args, tmp_path):
    aliased = results(run("-m", "carnyx", f"examples/{example}", *args))
    assert aliased and aliased == results(run(with_carnyx_written_in(example, tmp_path), *args))


def test_the_example_of_digits_learns():
    last = results(run("-m", "carnyx", "examples/mnist_cnn.py", "1"))[-1]
    assert float(last.split()[-1]) > 0.85  # one epoch; five reach about 0.955


@pytest.mark.slow
def test_text_generation_beats_the_trigram_model():
    # 2.53 against 2.76 bits; after 3 of the 5 epochs 2.91, and 2.92 under Keras.
    last = results(run("-m", "carnyx", "examples/text_generation.py", timeout=1200))[-1]
    lstm, trigram = map(float, re.findall(r"(\d\.\d+)", last))
    assert lstm < trigram


def test_demo_trains_and_draws(tmp_path):
    out = run("-m", "carnyx", "demo", "--epochs", "1", "--out", tmp_path)
    accuracy = float(re.search(r"held-out accuracy (\d+\.\d+)%", out).group(1))
    assert accuracy > 94
    for name in ("learning_curves.png", "digits.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_doctor_finds_this_installation_sound():
    out = run("-m", "carnyx", "doctor")
    assert re.search(r"^training +ok: ", out, re.MULTILINE) and "MISSING" not in out
    assert re.search(r"^engines +xla, numpy", out, re.MULTILINE)


def test_benchmarks_measure_and_write(tmp_path):
    path = tmp_path / "b.json"
    args = ["--only", "import", "--frameworks", "carnyx", "--rounds", "1", "--output", path]
    assert "import (s; numpy" in run("-m", "benchmarks", *args)
    assert '"numpy": [' in path.read_text()


def test_project_file_agrees_with_the_package_and_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == carnyx.__version__
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", pin) for pin in pins)
    pinned = {pin.split("==")[0] for pin in pins} | {"carnyx"}
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    named = {re.match(r"[A-Za-z0-9-]+", item).group() for group in groups for item in group}
    assert named <= pinned
