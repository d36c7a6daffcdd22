"""Declared constructors: `@declared` writes `__init__` from the annotated attributes of a class.

`Configurable._keep_fields` then keeps the arguments, and `_set_up` does what is left to do.
"""

from __future__ import annotations

from inspect import Parameter, get_annotations, signature
from typing import Any, TypeVar, dataclass_transform

Class = TypeVar("Class", bound=type[Any])
Given = Any  # the type of a field for `_set_up` alone: it is not kept, and in no config


@dataclass_transform(eq_default=False, kw_only_default=True)
def tail(cls: Class) -> Class:
    """Declares fields that follow the own ones of the classes that inherit them. Type checkers,
    which put the fields of bases first, take these for keyword-only."""
    cls._declared = {}
    for name, annotation in get_annotations(cls).items():
        kind, default = Parameter.POSITIONAL_OR_KEYWORD, vars(cls).get(name, Parameter.empty)
        field = Parameter(name, kind, default=default, annotation=annotation)
        fixed = str(annotation).startswith("ClassVar")
        cls._declared[name] = None if fixed else field
        if not fixed and name in vars(cls):
            delattr(cls, name)  # it would hide what a base has of that name, such as a property
    return cls


@dataclass_transform(eq_default=False)
def declared(cls: Class) -> Class:
    """Writes `__init__(self, <own fields>, <those of declared bases>, **kwargs)`. A `ClassVar` is
    no field, and takes away the one of its name in a `tail`.

    >>> from carnyx.core.config import Configurable
    >>> @declared
    ... class Scale(Configurable):
    ...     factor: float
    ...     centre: float = 0.0
    >>> Scale(3, centre=1).get_config()
    {'factor': 3, 'centre': 1}
    """
    if "__init__" in vars(cls):
        raise TypeError(f"{cls.__name__} is declared: it has a _set_up rather than an __init__.")
    fields, last, root = {}, tail(cls), object
    for base in cls.__mro__:
        if "_declared" in vars(base):
            fields = {**fields, **vars(base)["_declared"], **fields}  # new ones last
            last = base if "__init__" in vars(base) else last
        elif "__init__" in vars(base):
            root = base
            break
    cls.__init__ = _written(cls, last, {n: f for n, f in fields.items() if f}, root)
    cls._describe()
    return cls


def _written(cls: type, last: type, fields: dict[str, Parameter], root: type) -> Any:
    """The constructor of `cls`. That of `root`, the next after `last` that is written by hand, gets
    the fields that it names and the unknown arguments."""
    named = signature(vars(root)["__init__"]).parameters
    any_more = root is not object and any(p.kind is p.VAR_KEYWORD for p in named.values())
    rest = ["**kwargs"] if any_more else []
    default = {n: f.default for n, f in fields.items() if f.default is not f.empty}
    shown = [f"{n}={n}" if n in default else n for n in fields]
    handed = [n for n in fields if n in named]
    given = [n for n, f in fields.items() if f.annotation == "Given"]
    kept = [n for n in fields if n not in (*handed, *given)]
    scope: dict[str, Any] = {**default, "_cls": cls, "_last": last}
    exec(
        f"def __init__({', '.join(['self', *shown, *rest])}):\n"
        f"    super(_last, self).__init__({', '.join([*(f'{n}={n}' for n in handed), *rest])})\n"
        f"    self._keep_fields(_cls, {{{', '.join(f'{n!r}: {n}' for n in kept)}}})\n"
        f"    self._set_up({', '.join(f'{n}={n}' for n in given)})\n",
        scope,
    )
    init = scope["__init__"]
    init.__qualname__, init.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    init.__annotations__ = {n: f.annotation for n, f in fields.items()} | {"return": None}
    return init
