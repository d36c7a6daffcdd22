"""Operations by name: `carnyx.ops.add`, and so on, on arrays, Variables and KerasTensors.

The names stand in the `__all__` of the modules in `_HOMES`; `table.py` says how a function of
arrays becomes an operation. Modules are imported when a name of theirs is first asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

_HOMES = (
    "core control numpy linalg math nn convolution pooling crossentropy einops attention ctc signal"
).split()


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # asked by Python's own machinery, of names that are never here
        raise AttributeError(name)
    if importlib.util.find_spec(f"carnyx.ops.{name}") is not None:
        return importlib.import_module(f"carnyx.ops.{name}")
    modules = homes()
    for module in modules:
        if name in module.__all__:
            value = globals()[name] = getattr(module, name)
            return value
    from carnyx.core.errors import nearest

    known = [n for module in modules for n in module.__all__]
    raise AttributeError(f"module 'carnyx.ops' has no operation {name!r}.{nearest(name, known)}")


def homes() -> list[Any]:
    """The modules whose operations stand here."""
    return [importlib.import_module(f"carnyx.ops.{home}") for home in _HOMES]


def __dir__() -> list[str]:
    return sorted({*globals(), *(name for module in homes() for name in module.__all__)})
