"""What constructors of layers share: checks that name the layer, weights by kind, shared docs.

No layer lives here. A check returns the normalised value, or raises ValueError saying which layer,
what it received, what it expected. Constructors are declared (see `core/fields.py`), and `Declared`
checks and keeps every argument as its type says (`Whole`, `Fraction`, `bool`...). One that is
written by hand does the same by `arguments.keep_given(self, locals())`.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from carnyx import activations, constraints, initializers, regularizers
from carnyx.core import dtypes
from carnyx.core.errors import nearest
from carnyx.core.fields import tail
from carnyx.core.layer import Layer

KINDS: dict[str, Any] = {
    "initializer": initializers,
    "regularizer": regularizers,
    "constraint": constraints,
}
FUNCTIONS: dict[str, Any] = {**KINDS, "activation": activations}

# Arguments that several layers take, documented once: `Declared` splices these in.
SHARED = {
    "units": "U, the size of the output, from 1.",
    "activation": "a name or function applied to the result; None for none.",
    "use_bias": "whether a bias is added.",
    "unit_forget_bias": "whether the forget gate's bias starts at 1.",
    "use_gate": "whether the heads are multiplied with sigmoid(query W_g).",
    "sliding_window": ("sources at least this far from their target are masked; None for none."),
    "flash_attention": (
        "True never has all weights [T, S] at once, and so takes no dropout and\n"
        "            gives no scores; False has; None takes the faster, in what the settings allow."
    ),
    "weight_options": (
        "<weight>_initializer, <weight>_regularizer, <weight>_constraint: for each weight, how it\n"
        "            starts, a penalty added to the loss, a projection after each update."
    ),
    "activity_regularizer": "a penalty on the outputs.",
    "lora_rank, lora_alpha": (
        "r from 1 freezes the kernel W and learns W + (alpha / r) A B instead;\n"
        "            alpha is r if None. See `enable_lora`."
    ),
    "data_format": (
        '"channels_last" (B, *space, C) or "channels_first" (B, C, *space);\n'
        "            None for the global setting."
    ),
    "padding": '"valid" (none) or "same" (output size = ceil(input size / stride)).',
    "filters": "the number of output channels, from 1.",
    "kernel_size": "size of the window, a number or one for each spatial axis.",
    "strides, dilation_rate": (
        "steps between windows, and between places in a window; not both\n            above 1."
    ),
    "depth_multiplier": "M, the number of filters of each channel, from 1.",
    "rate": "a fraction in [0, 1].",
    "seed": "an int for the same numbers in every run; None for others each time.",
    "dropout, recurrent_dropout": (
        "fraction in [0, 1] of the inputs, or of the state, that a\n"
        "            training call drops, with one mask for all steps (Gal and Ghahramani 2016)."
    ),
    "epsilon": "added to the variance, so that its root is not 0.",
    "center, scale": "whether beta is added, and gamma multiplied.",
}


def _entry(argument: str) -> str:
    """The entry of SHARED that describes an argument."""
    weight, _, kind = argument.rpartition("_")
    if kind in KINDS and weight != "activity":
        return "weight_options"
    return next((entry for entry in SHARED if argument in entry.split(", ")), "")


def refuse(layer: Any, argument: str, value: Any, expected: str) -> ValueError:
    """The error for an argument that a layer cannot take."""
    return ValueError(
        f"{type(layer).__name__} '{layer.name}': {argument} must be {expected}. "
        f"Received: {argument}={value!r}"
    )


def is_whole(value: Any) -> bool:
    """Whether a value is an integer (True and False are none)."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def whole(layer: Any, argument: str, value: Any, least: int | None = 1) -> int:
    """A whole number from `least`, or any."""
    if not is_whole(value) or (least is not None and value < least):
        bound = "" if least is None else f" from {least}"
        raise refuse(layer, argument, value, f"a whole number{bound}")
    return int(value)


def sizes(layer: Any, argument: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
    """A number for each spatial axis, from a number for all or a sequence of `rank`."""
    values = (value,) * rank if is_whole(value) else value
    good = isinstance(values, (list, tuple)) and len(values) == rank
    if not good or not all(is_whole(v) and v >= least for v in values):
        some = "" if rank == 1 else f" or a tuple of {rank}, one for each spatial axis"
        raise refuse(layer, argument, value, f"a whole number from {least}{some}")
    return tuple(int(v) for v in values)


def margins(layer: Any, argument: str, value: Any, rank: int) -> Any:
    """(before, after) for each of `rank` axes, from a number, a number each, or pairs."""
    values = (value,) * rank if is_whole(value) else value
    if rank == 1 and isinstance(values, (list, tuple)) and len(values) == 2:
        values = (values,)
    if isinstance(values, (list, tuple)) and len(values) == rank:
        pairs: Any = [(v, v) if is_whole(v) else v for v in values]
        if all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs) and all(
            is_whole(v) and v >= 0 for pair in pairs for v in pair
        ):
            return tuple((int(a), int(b)) for a, b in pairs)
    each = "" if rank == 1 else f", a tuple of {rank} numbers, or a tuple of {rank} pairs"
    raise refuse(
        layer, argument, value, f"a number{each or ' or a pair'} (before, after), none below 0"
    )


def choice(layer: Any, argument: str, value: Any, allowed: Sequence[str]) -> str:
    """One of the allowed words, in lower case."""
    word = value.lower() if isinstance(value, str) else value
    if word not in allowed:
        hint = nearest(str(value), allowed).strip()
        words = ", ".join(map(repr, allowed)) + (hint and f" ({hint})")
        raise refuse(layer, argument, value, f"one of {words}")
    return word


def data_format(layer: Any, value: Any) -> str:
    """The data format, or the global one for None."""
    if value is None:
        return dtypes.image_data_format()
    return choice(layer, "data_format", value, ("channels_last", "channels_first"))


def number(
    layer: Any, argument: str, value: Any, least: float = -math.inf, most: float = math.inf
) -> Any:
    """A real number within bounds, as it was given."""
    real = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not real or not least <= value <= most:
        bounds = {
            (False, False): "a number",
            (True, False): f"a number from {least:g}",
            (True, True): f"a number in [{least:g}, {most:g}]",
        }[math.isfinite(least), math.isfinite(most)]
        raise refuse(layer, argument, value, bounds)
    return value.item() if isinstance(value, np.number) else value


def flag(layer: Any, argument: str, value: Any) -> bool:
    """True or False, or a 1 or 0 for it."""
    if not isinstance(value, (bool, np.bool_, int)) or value not in (0, 1):
        raise refuse(layer, argument, value, "True or False")
    return bool(value)


# What the types in a constructor's signature say of an argument, besides bool and `... | None`.
Whole = int  # from 1
Fraction = float  # in [0, 1]
FromZero = float
Number = float
Axis = int
Axes = Any  # an axis, or several in a list
Several = Any  # a tuple, or one of its elements alone
Window = Any  # whole numbers from 1, one for all of the layer's `rank` axes or one for each
Sides = Any  # (before, after), or a number for both, for all of the `rank` axes or for each
Padding = str  # one of the layer's `paddings`
Mode = str  # one of the layer's `modes`
DataFormat = str | None

RULES: dict[str, Callable[[Any, str, Any], Any]] = {
    "bool": flag,
    "Whole": whole,
    "Fraction": lambda layer, name, value: number(layer, name, value, 0, 1),
    "FromZero": lambda layer, name, value: number(layer, name, value, 0),
    "Number": number,
    "Axis": lambda layer, name, value: whole(layer, name, value, least=None),
    "Axes": lambda layer, name, value: list(value) if isinstance(value, (list, tuple)) else value,
    "Several": lambda layer, name, value: (
        tuple(value) if isinstance(value, (list, tuple)) else (value,)
    ),
    "Window": lambda layer, name, value: sizes(layer, name, value, layer.rank),
    "Sides": lambda layer, name, value: margins(layer, name, value, layer.rank),
    "Padding": lambda layer, name, value: choice(layer, name, value, layer.paddings),
    "Mode": lambda layer, name, value: choice(layer, name, value, layer.modes),
    "DataFormat": lambda layer, name, value: data_format(layer, value),
}
# Arguments that the base class has seen to, and the one that is no option but a state.
NOT_KEPT = ("activity_regularizer", "name", "dtype", "weights", "kwargs", "return")


@cache
def _rules(owner: type) -> dict[str, Callable[[Any, str, Any], Any] | None]:
    """How each argument of the owner's constructor is kept: by the rule of its type; functions and
    weight options, told by the last word of their name, as objects; others (None) as they are."""
    types = vars(owner)["__init__"].__annotations__
    return {name: _rule(name, kind) for name, kind in types.items() if name not in NOT_KEPT}


def _rule(name: str, kind: str) -> Callable[[Any, str, Any], Any] | None:
    home, rule = FUNCTIONS.get(name.rpartition("_")[2]), RULES.get(kind.removesuffix(" | None"))
    if home is not None:
        return lambda layer, name, value: home.get(value)
    if rule is None or not kind.endswith("| None"):
        return rule
    return lambda layer, name, value: None if value is None else rule(layer, name, value)


def keep_given(layer: Any, given: dict[str, Any], of: type | None = None) -> None:
    """Keeps a constructor's arguments, `given` as its `locals()`, under their names. `of`: whose
    constructor, if not the caller's."""
    rules = _rules(of or given["__class__"])
    for name, value in given.items():
        if name in rules:
            rule = rules[name]
            setattr(layer, name, value if rule is None else rule(layer, name, value))


def add_weight(layer: Any, name: str, shape: Any, prefix: str | None = None, **more: Any) -> Any:
    """Makes the weight `name` with the options kept under `prefix` (or its name), or `more`."""
    options = {kind: getattr(layer, f"{prefix or name}_{kind}", None) for kind in KINDS}
    return layer.add_weight(shape, name=name, **{**options, **more})


def known(layer: Any, shape: Any, axis: int, what: str) -> int:
    """The size of one axis of an input, which weights depend on and so must be known."""
    size = shape[axis]
    if size is None:
        raise ValueError(
            f"{type(layer).__name__} '{layer.name}': the size of {what} (axis {axis}) must be "
            f"known to make the weights. Received an input of shape {tuple(shape)}. Give that axis "
            "a size in Input(shape=...), or call the layer on data."
        )
    return int(size)


def axes_of(layer: Any, axis: Any, rank: int) -> tuple[int, ...]:
    """Axes counted from 0, checked against the rank of the input and against repetition."""
    given = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    if not given or not all(is_whole(a) and -rank <= a < rank for a in given):
        raise refuse(
            layer, "axis", axis, f"an axis of the input, which has {rank} ({-rank} to {rank - 1})"
        )
    counted = tuple(int(a) % rank for a in given)
    if len(set(counted)) != len(counted):
        raise refuse(layer, "axis", axis, "axes that are named once each")
    return counted


@tail
class KernelOptions:
    """Fields of layers with a kernel and a bias."""

    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    kernel_regularizer: Any = None
    bias_regularizer: Any = None
    activity_regularizer: Any = None
    kernel_constraint: Any = None
    bias_constraint: Any = None


class Declared:
    """Mixin of layers with a declared constructor: arguments are kept by the rules of their types.
    In a docstring `[shared]` stands for the lines of SHARED on the constructor's arguments that
    have none there; where it does, `about` follows the first line. Other attributes say what
    configs hold."""

    about = ""  # what a family has in common
    unsaved: tuple[str, ...] = ()  # arguments that Keras's configs do not have
    saved: tuple[str, ...] = ()  # and those of `Layer` that they have even if not given
    plain_dtype = False  # whether configs hold the dtype as a plain name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._pattern = cls.__doc__
        if cls.__init__ is not Layer.__init__:
            cls._describe()

    @classmethod
    def _describe(cls) -> None:
        pattern = cls.__doc__ = cls._pattern
        if pattern is None or "[shared]" not in pattern:
            return
        first, _, rest = pattern.partition("\n")
        taken = inspect.signature(cls).parameters
        told = {w for names in re.findall(r"(?m)^ +([\w, ]+):", rest) for w in names.split(", ")}
        found = dict.fromkeys(_entry(name) for name in taken if name not in told)
        texts = [(name, SHARED[name]) for name in found if name in SHARED]
        lines = [text if text.startswith("<") else f"{name}: {text}" for name, text in texts]
        text = f"{first}\n{cls.about}{rest}"
        if lines:
            text = text.replace("[shared]", "\n        ".join(lines))
        elif len(taken) > 1:  # else it is a base without a constructor: a pattern for others
            text = text.replace("        [shared]\n", "")
        cls.__doc__ = text

    def _keep_fields(self, owner: type, given: dict[str, Any]) -> None:
        keep_given(self, given, owner)

    def _in_config(self, name: str, *rest: Any) -> bool:
        if name in self.unsaved:
            return False
        return name in self.saved or super()._in_config(name, *rest)  # type: ignore[misc]

    def _config_value(self, name: str, *rest: Any) -> Any:
        if name == "dtype" and self.plain_dtype:
            return self.dtype_policy.name  # type: ignore[attr-defined]
        return super()._config_value(name, *rest)  # type: ignore[misc]


class FileOptions(Declared):
    """Mixin: reads configs that hold options of Keras that Carnyx does not have, when these are
    at the value that means "off"."""

    absent: dict[str, Any] = {"quantization_config": None}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        for name, off in cls.absent.items():
            if config.get(name, off) != off:
                raise ValueError(
                    f"{cls.__name__}: this config has {name}={config[name]!r}, which Carnyx does "
                    "not support. Remove it before saving."
                )
        kept = {k: v for k, v in config.items() if k not in cls.absent}
        return super().from_config(kept)  # type: ignore[misc]
