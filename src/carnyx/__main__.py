"""The command line: `python -m carnyx script.py` runs a Keras program unchanged, under Carnyx.

Only starting things lives here. What `import keras` then means is in keras_alias.py; the commands
are in demo.py and doctor.py, and in benchmarks/ beside the package's source.
"""

from __future__ import annotations

import difflib
import io
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

HELP = """\
usage: carnyx script.py [arguments]    run a Keras program, with `keras` meaning Carnyx
       carnyx -m module [arguments]    the same for a module
       carnyx -                        the same for a program read from standard input
       carnyx command [options]        one of the commands below

commands:
  demo      train on real handwritten digits and draw the results (under a minute)
  doctor    show versions, cores and engines, and check this installation by training a model
  bench     compare speed with the other frameworks installed (in a clone of the source)

options:
  -h, --help       show this and stop
  -V, --version    show the version and stop

`python -m carnyx` is the same as `carnyx`. For a command's own options: carnyx demo --help
"""

COMMANDS = ("demo", "doctor", "bench")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    argv: the arguments after the program's name; those of this process when None.

    Example:
        >>> from carnyx.__main__ import main
        >>> main(["--no-such-option"])
        2
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    first, rest = args[0], args[1:]
    if first in ("-V", "--version"):
        from carnyx import __version__

        print(f"carnyx {__version__}")
        return 0
    if first in COMMANDS:
        return _command(first, rest)
    if first == "-m":
        return _run_module(rest) if rest else _usage("-m needs the name of a module")
    if first == "-":
        return _run_code(io.TextIOWrapper(sys.stdin.buffer).read(), "<stdin>", first, rest)
    if first.startswith("-"):
        return _usage(f"there is no option {first!r}")
    return _run_script(first, rest)


def _usage(message: str) -> int:
    print(f"carnyx: {message}\n\n{HELP}", end="", file=sys.stderr)
    return 2


def _command(name: str, args: list[str]) -> int:
    if name == "demo":
        from carnyx.demo import main as run
    elif name == "doctor":
        from carnyx.doctor import main as run
    else:
        run = _bench
    return run(args)


def _bench(args: list[str]) -> int:
    source = Path(__file__).resolve().parents[2]
    if not (source / "benchmarks" / "__main__.py").is_file():
        print("carnyx: the benchmarks are not installed with the package; "
              "run `make bench` in a clone of the source", file=sys.stderr)  # fmt: skip
        return 2
    sys.path.insert(0, str(source))
    from benchmarks.__main__ import main as run  # pyright: ignore[reportMissingImports]

    return run(args)


def _run_script(path: str, args: list[str]) -> int:
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        near = difflib.get_close_matches(path, COMMANDS, n=1)
        hint = f". Did you mean the command {near[0]!r}?" if near else ""
        print(f"carnyx: can't open {path!r}: {error.strerror}{hint}", file=sys.stderr)
        return 2
    return _run_code(source, os.path.abspath(path), path, args)


def _run_code(source: str | bytes, filename: str, argv0: str, args: list[str]) -> int:
    """Run a program as Python itself would: as __main__, with its own argv and path."""
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    folder = ""
    if filename != "<stdin>":
        folder = str(Path(filename).resolve().parent)
        module.__file__ = filename
        module.__loader__ = SourceFileLoader("__main__", filename)

    def run() -> None:
        code: CodeType = compile(source, filename, "exec", dont_inherit=True)
        sys.modules["__main__"] = module
        exec(code, module.__dict__)

    return _under_alias(run, [argv0, *args], folder)


def _run_module(args: list[str]) -> int:
    def run() -> None:
        runpy.run_module(args[0], run_name="__main__", alter_sys=True)

    return _under_alias(run, args, str(Path.cwd()))


def _under_alias(run, argv: list[str], folder: str) -> int:
    from carnyx import keras_alias

    keras_alias.install()
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        sys.path[0] = folder
    try:
        run()
    except SystemExit:
        raise
    except BaseException as error:
        # Not re-raised, which would put the frames of this file into the user's traceback.
        error.__traceback__ = _users_part(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _users_part(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the user's first frame on; all of it None for an error in compiling."""
    ours = (__file__, runpy.__file__, "<frozen runpy>")
    while traceback is not None and traceback.tb_frame.f_code.co_filename in ours:
        traceback = traceback.tb_next
    return traceback


if __name__ == "__main__":
    sys.exit(main())
