"""Builds the XLA engine's C++ kernels with the package, where there is a C++ compiler.

Each kernel is compiled once for each instruction set, and chosen when it is loaded: a wheel runs on
every processor of its platform. Without a compiler the package is pure Python, and slower for LSTMs
and small products; `carnyx doctor` says so.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = Path("src/carnyx/engines/native")
LIBRARY = NATIVE / "kernels.so"
# The name that the code is given -> the compiler's name of the instruction set.
X86 = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "plain": "x86-64"}
# Without errno square roots are those of the processor, many at a time.
FLAGS = ("-std=gnu++17", "-O3", "-fPIC", "-ffp-contract=fast", "-fno-math-errno", "-pthread")


class KernelHook(BuildHookInterface[Any]):
    """What hatchling runs before it packs a wheel, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        library = Path(self.root) / LIBRARY
        library.unlink(missing_ok=True)
        compiler = shutil.which(os.environ.get("CXX", "c++"))
        if compiler is None:
            self.app.display_warning("no C++ compiler (CXX or c++): native kernels are left out")
            return
        try:
            build(compiler, Path(self.root) / NATIVE, library)
        except subprocess.CalledProcessError as error:
            self.app.display_warning(f"native kernels are left out: {compiler}: {error.stderr}")
            return
        build_data["artifacts"].append(str(LIBRARY))
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + re.sub(r"\W", "_", sysconfig.get_platform())


def build(compiler: str, sources: Path, library: Path) -> None:
    """Compiles the kernels of `sources` into one library."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for isa in X86 if x86 else ["plain"]:
            target = [f"-march={X86[isa]}"] if x86 else []
            objects.append(f"{folder}/{isa}.o")
            options = [*FLAGS, *target, f"-DCARNYX_ISA={isa}", "-c", "-o", objects[-1]]
            _run(compiler, *options, str(sources / "kernels.cpp"))
        options = [*FLAGS, "-shared", f"-I{xla_headers()}", "-o", str(library)]
        _run(compiler, *options, str(sources / "module.cpp"), *objects)


def xla_headers() -> Path:
    """The folder of the C header that jaxlib brings."""
    spec = importlib.util.find_spec("jaxlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("jaxlib, which pyproject.toml asks for when building, is not there")
    return Path(spec.origin).parent / "include"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
