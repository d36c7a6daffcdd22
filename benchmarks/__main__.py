"""`python -m benchmarks`: interleaved rounds, medians, a table of ratios, and the numbers as JSON.

One process is asked at a time; the order of the frameworks turns from round to round, so that a
slow minute of the machine does not fall on one of them alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.cases import FRAMEWORKS, MODELS, Case, Suite

ROOT = Path(__file__).resolve().parents[1]
PAUSE = 0.2  # seconds, in which the thread pools of the process asked last fall asleep
Results = dict[str, dict[str, list[float]]]


def main(argv: Sequence[str] | None = None, suite: Suite = MODELS) -> int:
    """Measure, print and write; return 1 if a framework failed in a case, else 0."""
    options = parse(argv, suite)
    results, errors = run(suite, options.cases, options.frameworks, options.rounds)
    print_table(suite, options.cases, options.frameworks, results)
    for (case, framework), message in errors.items():
        print(f"{framework} failed in {case!r}: {message}", file=sys.stderr)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(as_json(options, results, errors), indent=1) + "\n")
    print(f"written to {options.output}")
    return 1 if errors else 0


def parse(argv: Sequence[str] | None, suite: Suite) -> argparse.Namespace:
    """Options; `cases` as Case objects and `frameworks` as names, those installed by default."""
    names = [case.name for case in suite.cases]
    parser = argparse.ArgumentParser(prog=f"python -m {suite.program}", description=__doc__)
    parser.add_argument("--only", help=f"cases, by comma: {', '.join(names)}")
    parser.add_argument("--frameworks", help=f"by comma: {', '.join(suite.frameworks)}")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    parser.add_argument("--output", type=Path, default=Path(suite.output))
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    options.cases = [c for c in suite.cases if c.name in _chosen(parser, options.only, names)]
    options.frameworks = _chosen(parser, options.frameworks, list(suite.frameworks))
    for name in [name for name in options.frameworks if not installed(name)]:
        print(f"{name} is left out: {FRAMEWORKS[name][0]} is not installed")
        options.frameworks.remove(name)
    return options


def _chosen(parser: argparse.ArgumentParser, given: str | None, known: list[str]) -> list[str]:
    names = known if given is None else [name.strip() for name in given.split(",")]
    for name in names:
        if name not in known:
            parser.error(f"{name!r} is none of: {', '.join(known)}")
    return list(names)


def installed(framework: str) -> bool:
    """Whether the packages of a framework are here; nothing is imported."""
    needed = [FRAMEWORKS[framework][0]] + ["keras"] * framework.startswith("keras-")
    return all(importlib.util.find_spec(name) is not None for name in needed)


# ---- measuring ---------------------------------------------------------------------------------


class Process:
    """A framework's worker process, asked over pipes."""

    def __init__(self, framework: str, worker: tuple[str, ...]):
        self.framework = framework
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by close()
        command = [sys.executable, "-m", *worker, framework]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(framework), text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
        )  # fmt: skip

    def ask(self, case: Case) -> float:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps({"case": case.name}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"the process died: {self.log.read()[-500:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe is not None:
                pipe.close()


def environment(framework: str) -> dict[str, str]:
    """The environment of a framework's processes, less what would tilt the comparison."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **quiet, **FRAMEWORKS.get(framework, ("", {}))[1]}


def run(
    suite: Suite, cases: list[Case], frameworks: list[str], rounds: int
) -> tuple[Results, dict[tuple[str, str], str]]:
    """All measurements: case -> framework -> one value a round; and what failed."""
    results: Results = {case.name: {} for case in cases}
    errors: dict[tuple[str, str], str] = {}
    processes: dict[str, Process] = {}
    try:
        for number, case, framework in turns(cases, frameworks, rounds):
            if (case.name, framework) in errors:
                continue
            print(f"round {number}/{rounds}: {case.name}, {framework} ...", flush=True)
            try:
                value = measure(suite, case, framework, processes)
            except RuntimeError as error:
                errors[case.name, framework] = str(error)
                continue
            results[case.name].setdefault(framework, []).append(value)
            time.sleep(PAUSE)
    finally:
        for process in processes.values():
            process.close()
    return results, errors


def turns(cases: list[Case], frameworks: list[str], rounds: int) -> Iterator[tuple[int, Case, str]]:
    """Who is asked what, in order: in every round another framework comes first."""
    for number, case in itertools.product(range(rounds), cases):
        first = number % max(len(frameworks), 1)
        baseline = ["numpy"] if case.kind == "import" else []
        for framework in frameworks[first:] + frameworks[:first] + baseline:
            yield number + 1, case, framework


def measure(suite: Suite, case: Case, framework: str, processes: dict[str, Process]) -> float:
    """One value of one framework in one case, in the case's unit."""
    if case.kind == "import":
        return import_seconds(framework)
    if case.kind == "first_step":
        start = time.perf_counter()
        process = Process(framework, suite.worker)
        try:
            process.ask(case)
            return time.perf_counter() - start
        finally:
            process.close()
    if framework not in processes:
        processes[framework] = Process(framework, suite.worker)
    return processes[framework].ask(case)


def import_seconds(framework: str) -> float:
    """Seconds that a fresh interpreter takes to import the framework and end."""
    module = "keras" if framework.startswith("keras-") else framework
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], cwd=ROOT, env=environment(framework),
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return time.perf_counter() - start


# ---- telling -----------------------------------------------------------------------------------


def unscored(case: Case) -> tuple[str, ...]:
    """Who is no rival in a case: a bare PyTorch module has no predict() to compare with."""
    bare = case.kind in ("predict", "generate")
    return ("carnyx", "numpy", "torch") if bare else ("carnyx", "numpy")


def summary(case: Case, values: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, the best rival, the score that the target is about, and whether it is met."""
    medians = {name: statistics.median(v) for name, v in values.items()}
    rivals = {name: v for name, v in medians.items() if name not in unscored(case)}
    best = min(rivals, key=lambda name: rivals[name]) if rivals else None
    ours, score = medians.get("carnyx"), None
    if ours is not None and case.kind == "import" and "numpy" in medians:
        score = ours - medians["numpy"]
    elif ours is not None and best is not None:
        score = ours / rivals[best]
    met = None if score is None or case.target is None else score <= case.target
    return {"medians": medians, "best_rival": best, "score": score, "met": met}


def print_table(suite: Suite, cases: list[Case], frameworks: list[str], results: Results) -> None:
    """The medians, with the best rival's in bold and those outside the score in brackets."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=suite.title, caption=suite.caption)
    table.add_column("case")
    for name in [*frameworks, "score", "asked", "met"]:
        table.add_column(name, justify="right")
    for case in cases:
        told = summary(case, results[case.name])
        cells = [_cell(case, framework, told) for framework in frameworks]
        score = "" if told["score"] is None else f"{told['score']:.2f}"
        asked = "" if case.target is None else f"{case.target:g}"
        met = {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[told["met"]]
        numpy = told["medians"].get("numpy")
        unit = case.unit if numpy is None else f"{case.unit}; numpy {numpy:.2f}"
        table.add_row(f"{case.name} ({unit})", *cells, score, asked, met)
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def _cell(case: Case, framework: str, told: dict[str, Any]) -> str:
    value = told["medians"].get(framework)
    if value is None:
        return "-"
    text = f"{value:.3g}" if value < 100 else f"{value:.0f}"
    if framework != "carnyx" and framework in unscored(case):
        return f"({text})"
    return f"[bold]{text}[/]" if framework == told["best_rival"] else text


def as_json(
    options: argparse.Namespace, results: Results, errors: dict[tuple[str, str], str]
) -> dict[str, Any]:
    """Everything measured, with the machine and the versions it was measured on."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "python": platform.python_version(),
        "versions": {
            name: _version(name)
            for name in ("carnyx", "numpy", "jax", "keras", "tensorflow-cpu", "torch")
        },
        "rounds": options.rounds,
        "cases": [
            {
                "case": case.name,
                "unit": case.unit,
                "target": case.target,
                **summary(case, results[case.name]),
                "values": results[case.name],
                "errors": {f: text for (name, f), text in errors.items() if name == case.name},
            }
            for case in options.cases
        ],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
