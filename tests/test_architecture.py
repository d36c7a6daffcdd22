"""The laws of the design that a program can check: imports, file sizes, where engines are named."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "carnyx"
FILES = sorted(PACKAGE.rglob("*.py"))

# Who may import whom, by the first part of the module's name below `carnyx`.
BASE = {"core"}
MIDDLE = BASE | {"ops", "activations", "initializers", "regularizers", "constraints", "random"}
ALLOWED = {
    "core": BASE,
    "ops": BASE | {"ops"},
    "random": BASE | {"ops"},
    "activations": MIDDLE,
    "initializers": MIDDLE,
    "regularizers": MIDDLE,
    "constraints": MIDDLE,
    "layers": MIDDLE | {"layers"},
    "losses": MIDDLE | {"losses"},
    "metrics": MIDDLE | {"losses", "metrics"},
    "optimizers": MIDDLE | {"optimizers"},
    "data": BASE | {"data"},
    "program": BASE | {"program"},
    "engines": BASE | {"program", "engines"},
    "save": BASE | {"save"},
}
FOREIGN = {"keras", "tensorflow", "torch", "tf_keras"}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    modules = imported(path)
    assert not {m.split(".")[0] for m in modules} & FOREIGN
    if part in ALLOWED:
        own = {m.split(".")[1] for m in modules if m.startswith("carnyx.")}
        assert own <= ALLOWED[part] | {"core"}, f"{part} may not import {own - ALLOWED[part]}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_private_jax_stays_in_its_place(path: Path) -> None:
    private = {m for m in imported(path) if m.startswith("jax._src")}
    assert not private or path.name == "jaxinternals.py"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 800
    assert ast.get_docstring(ast.parse(text)), "a module says what lives in it"


def test_import_loads_no_heavy_library() -> None:
    code = (
        "import sys, carnyx; "
        "print([m for m in ('jax', 'numpy', 'rich', 'h5py', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_training_imports_no_other_framework() -> None:
    code = (
        "import sys, carnyx.models, carnyx.layers, carnyx.losses, carnyx.metrics; "
        "import carnyx.optimizers, carnyx.callbacks, carnyx.ops; "
        "print([m for m in ('tensorflow', 'torch', 'keras', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names_can_all_be_imported() -> None:
    import carnyx

    for name in carnyx.__all__:
        assert getattr(carnyx, name) is not None
    with pytest.raises(AttributeError, match=re.escape("Did you mean 'Sequential'")):
        carnyx.Sequentail  # noqa: B018
