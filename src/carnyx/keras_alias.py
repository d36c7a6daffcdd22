"""Makes `import keras` mean Carnyx, so that a Keras program runs unchanged.

`install()` puts a finder first on `sys.meta_path`. It answers for `keras` and everything below it
with the Carnyx module of the same name: the same module object, never a copy. When TensorFlow is
not installed, `tensorflow.keras` means Carnyx too. Nothing happens before `install()` is called;
`python -m carnyx script.py` (see __main__.py) calls it.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from carnyx.core.errors import nearest

__all__ = ["install", "uninstall"]


class _SameModule(Loader):
    """Loads a Carnyx module under a second name, leaving its own identity as it was."""

    def __init__(self, target: str):
        self.target = target

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _carnyx_module(self.target)
        assert module is not None
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's spec into the module.
        module.__spec__ = self.own_spec


class _TensorFlow(ModuleType):
    """Stands where TensorFlow is not installed: it has `keras`, and says so when asked for more."""

    __path__: list[str] = []

    def __getattr__(self, name: str):
        if name == "keras":
            return importlib.import_module("tensorflow.keras")
        raise AttributeError(
            f"tensorflow.{name} is not available: TensorFlow is not installed. Carnyx stands in "
            "for tf.keras only. Install TensorFlow, or use keras.ops or NumPy instead."
        )


class _TensorFlowLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _TensorFlow("tensorflow", "tf.keras, and nothing else, provided by Carnyx.")

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Finder(MetaPathFinder):
    """Answers for `keras`, and for `tensorflow` where there is none."""

    def __init__(self, tensorflow: bool):
        self.tensorflow = tensorflow

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        root = fullname.partition(".")[0]
        if root == "tensorflow" and self.tensorflow:
            return self._tensorflow_spec(fullname)
        return _alias_spec(fullname, "keras") if root == "keras" else None

    def _tensorflow_spec(self, fullname: str) -> ModuleSpec:
        if fullname == "tensorflow":
            return ModuleSpec(fullname, _TensorFlowLoader(), is_package=True)
        if fullname == "tensorflow.keras" or fullname.startswith("tensorflow.keras."):
            return _alias_spec(fullname, "tensorflow.keras")
        raise ModuleNotFoundError(
            f"No module named {fullname!r}: TensorFlow is not installed. Carnyx stands in for "
            "tensorflow.keras only.",
            name=fullname,
        )


def _alias_spec(fullname: str, prefix: str) -> ModuleSpec:
    target = "carnyx" + fullname[len(prefix) :]
    module = _carnyx_module(target)
    if module is None:
        raise _missing(fullname, target)
    return ModuleSpec(fullname, _SameModule(target), is_package=hasattr(module, "__path__"))


def _carnyx_module(target: str) -> ModuleType | None:
    """The module of that name, or the parent's attribute of that name if it is a module."""
    if importlib.util.find_spec(target) is not None:
        return importlib.import_module(target)
    parent, _, name = target.rpartition(".")
    found = getattr(importlib.import_module(parent), name, None)
    return found if isinstance(found, ModuleType) else None


def _missing(fullname: str, target: str) -> ModuleNotFoundError:
    parent, _, name = target.rpartition(".")
    names = {m.name for m in pkgutil.iter_modules(importlib.import_module(parent).__path__)}
    names = {n for n in names if not n.startswith("_")}
    said = nearest(name, sorted(names)).strip() or f"{parent} has: {', '.join(sorted(names))}."
    if name == "_tf_keras":
        said = "tf.keras belongs to the TensorFlow installed here; write `import keras` instead."
    return ModuleNotFoundError(
        f"No module named {fullname!r}: `keras` means Carnyx here, and there is no {target}. "
        + said,
        name=fullname,
    )


def install() -> None:
    """Make `import keras`, and `tensorflow.keras` where TensorFlow is missing, mean Carnyx.

    Installing twice is the same as once.

    Raises:
        ImportError: the real Keras has been imported already.

    Example, in a new process, since keras must not have been imported (tests/test_alias.py):
        from carnyx import keras_alias
        keras_alias.install()
        from keras.layers import Dense  # is carnyx.layers.Dense
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if "keras" in sys.modules:
        where = getattr(sys.modules["keras"], "__file__", "an unknown place")
        raise ImportError(
            f"keras is already imported (from {where}), so its name cannot mean Carnyx any more. "
            "Call carnyx.keras_alias.install() before the first import of keras, or run the "
            "program with `python -m carnyx script.py`."
        )
    absent = "tensorflow" not in sys.modules and PathFinder.find_spec("tensorflow") is None
    sys.meta_path.insert(0, _Finder(tensorflow=absent))


def uninstall() -> None:
    """Take the alias away, and forget the modules imported through it.

    Example:
        >>> from carnyx import keras_alias
        >>> keras_alias.uninstall()  # not installed: nothing happens
    """
    finders = [finder for finder in sys.meta_path if isinstance(finder, _Finder)]
    if not finders:
        return
    roots = {"keras"} | ({"tensorflow"} if any(f.tensorflow for f in finders) else set())
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in finders]
    for name in [name for name in sys.modules if name.partition(".")[0] in roots]:
        del sys.modules[name]
