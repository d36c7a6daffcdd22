"""The README's program is the example's, runs, and prints what the README says it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str, holding: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if holding in text)


def numbers(text: str) -> list[float]:
    """Accuracies and losses, without the times."""
    return [float(v) for v in re.findall(r"(?:accuracy|loss): (\d\.\d+)", text)]


def test_quickstart_prints_what_it_says() -> None:
    program = (ROOT / "examples" / "quickstart.py").read_text()
    assert block("python", "Sequential") == program
    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = numbers(block("text", "Epoch 1/5"))
    printed = numbers(done.stdout)
    assert len(said) == len(printed) == 12
    # Other processors add in another order; five epochs let that grow a little.
    assert all(abs(a - b) < 0.02 for a, b in zip(said, printed, strict=True)), done.stdout


def test_pictures_and_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
