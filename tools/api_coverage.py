"""How much of Keras's public API is here: names, parameters and defaults, compared live.

    python tools/api_coverage.py            the table, and every difference
    python tools/api_coverage.py --write    writes the table to docs/api_coverage.md

Needs `keras`, installed for tests. What is left out on purpose stands, with its reason, in
`api_exceptions.toml`: a name ("layers.TFSMLayer") or a parameter ("layers.*.quantization_config");
so does, without a reason, what is not there yet.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import inspect
import os
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api_coverage.md"
EXCEPTIONS = Path(__file__).with_name("api_exceptions.toml")
NAMESPACES = (
    "activations config constraints dtype_policies initializers layers losses metrics "
    "mixed_precision ops optimizers optimizers.schedules random regularizers tree"
).split()
# Names of the top level that models are written with; other namespaces have a row of their own.
TOP = "Input Variable KerasTensor StatelessScope name_scope remat".split()
# Namespaces on their way: shown, and not held to completeness yet.
UNFINISHED = ("callbacks", "models", "saving", "utils")
NOT_YET = "not there yet"


class Row(NamedTuple):
    """What the comparison of one namespace found."""

    namespace: str
    names: int  # in Keras
    here: int  # of them in Carnyx
    alike: int  # of these with the same parameters and defaults, declared exceptions aside
    declared: dict[str, str]  # exception -> reason
    problems: list[str]  # neither here nor declared


def public_names(module: Any) -> list[str]:
    """The public names of a module that are no modules."""
    return [
        name
        for name in dir(module)
        if not name.startswith("_") and not isinstance(getattr(module, name), types.ModuleType)
    ]


def plain(value: Any) -> Any:
    """A default in a form that two libraries can share: (2, 2) as 2, a function as its name."""
    if isinstance(value, (tuple, list)):
        if value and all(plain(item) == plain(value[0]) for item in value):
            return plain(value[0])
        return [plain(item) for item in value]
    if callable(value) and value is not inspect.Parameter.empty:
        return getattr(value, "__name__", str(value))
    return str(value) if type(value).__module__ not in ("builtins", "inspect") else value


def signature(target: Any) -> list[inspect.Parameter] | None:
    """The parameters of a function or constructor, or None if there is no telling."""
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return None


def parameters(target: Any) -> dict[str, Any] | None:
    """Parameter -> default."""
    found = signature(target) if callable(target) else None
    return None if found is None else _named(found)


def all_parameters(target: Any) -> dict[str, Any] | None:
    """The same, with what a constructor's **kwargs passes on to its base classes."""
    if not inspect.isclass(target):
        return parameters(target)
    merged: dict[str, Any] = {}
    for owner in target.__mro__:
        if "__init__" not in vars(owner) or owner is object:
            continue
        own = signature(vars(owner)["__init__"]) or []
        merged = {**_named(own[1:]), **merged}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return merged


def _named(found: list[inspect.Parameter]) -> dict[str, Any]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name: plain(p.default) for p in found if p.kind not in kinds}


def differences(ours: Any, theirs: Any) -> Iterator[tuple[str, str]]:
    """(parameter, what differs) between two functions or classes; for layers `call` counts too."""
    if not callable(theirs):
        return
    pairs = [(all_parameters(ours), parameters(theirs))]
    if inspect.isclass(theirs) and "call" in vars(theirs):
        pairs.append((parameters(ours.call), parameters(theirs.call)))
    for mine, wanted in pairs:
        if mine is None or wanted is None:
            continue
        for name, default in wanted.items():
            if name not in mine:
                yield name, f"no parameter {name!r}"
            elif mine[name] != default and {str(mine[name]), str(default)} != {"None", "False"}:
                yield name, f"{name}={mine[name]!r} where Keras has {default!r}"
    wanted = parameters(theirs) or {}
    order = [name for name in parameters(ours) or () if name in wanted]
    if order != [name for name in wanted if name in order]:
        yield "order", f"the order of parameters is {order}"


def exceptions() -> dict[str, str]:
    """Pattern -> reason."""
    found = tomllib.loads(EXCEPTIONS.read_text())
    return {**found["exceptions"], **dict.fromkeys(found["not_yet"]["names"].split(), NOT_YET)}


def compare(namespace: str, reasons: dict[str, str]) -> Row:
    """Holds one namespace of Carnyx against Keras's."""
    suffix = f".{namespace}" if namespace else ""
    theirs = importlib.import_module(f"keras{suffix}")
    try:
        ours: Any = importlib.import_module(f"carnyx{suffix}")
    except ImportError:
        ours = None
    names = public_names(theirs) if namespace else TOP
    here = alike = 0
    declared: dict[str, str] = {}
    problems: list[str] = []

    def excused(key: str) -> bool:
        pattern = next((p for p in reasons if fnmatch.fnmatchcase(key, p)), None)
        if pattern is not None:
            declared[pattern] = reasons[pattern]
        return pattern is not None

    for name in names:
        path = f"{namespace}.{name}" if namespace else name
        found = getattr(ours, name, None)
        if found is None:
            if not excused(path):
                problems.append(f"{path}: missing")
            continue
        here += 1
        wrong = list(differences(found, getattr(theirs, name)))
        kept = [text for parameter, text in wrong if not excused(f"{path}.{parameter}")]
        problems += [f"{path}: {text}" for text in kept]
        alike += not kept
    return Row(namespace or "(top level)", len(names), here, alike, declared, problems)


def page(rows: list[Row], version: str) -> str:
    """The documentation page: the table, then the exceptions with their reasons."""
    lines = [
        "# How much of Keras is here",
        "",
        f"Compared with Keras {version}: its public names, their parameters and their defaults.",
        "`make coverage-table` writes this page, and a test fails when it is no longer true.",
        "",
        "| Namespace | Names in Keras | Here | With the same parameters and defaults |",
        "|---|---|---|---|",
        *(f"| `{r.namespace}` | {r.names} | {r.here} | {r.alike} |" for r in rows),
        "",
        "## What is left out, and why",
        "",
    ]
    declared = {pattern: reason for r in rows for pattern, reason in r.declared.items()}
    late = sorted(pattern for pattern, reason in declared.items() if reason == NOT_YET)
    lines += [f"- `{p}`: {why}" for p, why in sorted(declared.items()) if why != NOT_YET]
    if late:
        lines += ["", "## Not there yet", "", ", ".join(f"`{name}`" for name in late)]
    return "\n".join(lines) + "\n"


def compare_all() -> tuple[list[Row], str]:
    """Every namespace, and Keras's version."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras: Any = importlib.import_module("keras")
    reasons = exceptions()
    return [compare(n, reasons) for n in ("", *NAMESPACES, *UNFINISHED)], keras.__version__


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/api_coverage.md")
    arguments = parser.parse_args()
    rows, version = compare_all()
    text = page(rows, version)
    print(text)
    for row in rows:
        for problem in row.problems if row.namespace not in UNFINISHED else ():
            print(problem)
    if arguments.write:
        PAGE.write_text(text)
    return any(row.problems for row in rows if row.namespace not in UNFINISHED)


if __name__ == "__main__":
    sys.exit(main())
