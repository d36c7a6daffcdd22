"""How a call of an operation, a node of a graph that is no layer, is written and read in configs.

Keras writes a class for each operation: "Mean" of the module "keras.src.ops.numpy", whose config
holds the arguments that are no tensors ({"axis": 1, "keepdims": False}), while the tensors stand in
the node. Both names follow from ours, and so there is one rule and a few true exceptions. Only our
own operations are found, by their exact names; nothing is imported by a path of the config.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from carnyx.core import dtypes
from carnyx.core.config import public
from carnyx.core.errors import nearest
from carnyx.core.symbol import Function, any_symbol

PREFIX = "keras.src.ops."
ACTIVATIONS = "keras.src.activations.activations"

# Our file of operations -> Keras's, where they differ.
HOMES = {
    "control": "core",
    "layout": "numpy",
    "sorting": "numpy",
    "statistics": "numpy",
    "attention": "nn",
    "convolution": "nn",
    "crossentropy": "nn",
    "ctc": "nn",
    "image_color": "image",
    "pooling": "nn",
    "signal": "math",
}
# Single operations -> Keras's file.
PLACES = {
    "get_item": "numpy",
    "jvp": "linalg",
    "logdet": "math",
    "norm": "linalg",
    "slogdet": "numpy",
}
# Operation -> Keras's class, where it is not the name in capitals: "top_k" is "TopK".
CLASSES = {
    "allclose": "AllClose",
    "batch_normalization": "BatchNorm",
    "cdist": "CDist",
    "hsv_to_rgb": "HSVToRGB",
    "isin": "IsIn",
    "layer_normalization": "LayerNorm",
    "rgb_to_grayscale": "RGBToGrayscale",
    "rgb_to_hsv": "RGBToHSV",
    "rms_normalization": "RMSNorm",
    "searchsorted": "SearchSorted",
    **{n: n.upper() for n in "fft fft2 ifft2 irfft istft jvp psnr rfft ssim stft svd".split()},
    "ctc_decode": "CTCDecode",
    "ctc_loss": "CTCLoss",
}
# Names for what has another name: an activation's, an alias's.
SAME = {"exponential": "exp", "hard_swish": "hard_silu", "swish": "silu"}

# Arguments of these names are tensors, and stand in the node; all others stand in the config.
IN_NODE = frozenset(
    (
        "a abs_ angle array b bias bins branches choicelist condition condlist constant_values "
        "coordinates data default depthwise_kernel elements elems end_points f false_fn "
        "fill_value fun image1 image2 images index indices init init_val inputs kernel key "
        "loop_vars mask mean offset operands output output_length output_shape pattern "
        "pointwise_kernel pred predictions primals q query scale segment_ids sequence_lengths "
        "sorted_sequence start start_indices start_points step stop tangents target "
        "target_length targets tensor transform translation true_fn updates value values variable "
        "variance weights x x1 x2 xs y gamma beta"
    ).split()
)
# ... but not so in these operations, and in these more.
IN_CONFIG = {
    "diagonal": {"offset"},
    "trace": {"offset"},
    "affine_transform": {"fill_value"},
    "bincount": {"weights"},
    "elastic_transform": {"fill_value"},
    "histogram": {"bins"},
    "map_coordinates": {"fill_value"},
    "perspective_transform": {"fill_value"},
    "resize": {"fill_value"},
    "squareplus": {"b"},
    "trapezoid": {"x"},
    "unique": {"fill_value"},
}
# Arguments that only Keras has, with the value that asks for nothing.
FOREIGN = {"rms_scaling": False}
MORE_IN_NODE = {"isclose": {"rtol", "atol"}}


def _class_name(name: str) -> str:
    return CLASSES.get(name) or "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _address(name: str, module: str) -> tuple[str, str]:
    """(Keras's module, its class) of the operation `name` of our module."""
    if module == "carnyx.activations":
        return ACTIVATIONS, "ReLU" if name == "relu" else _class_name(name)
    home = module.rpartition(".")[2]
    return PREFIX + PLACES.get(name, HOMES.get(home, home)), _class_name(name)


@functools.cache
def _table() -> dict[tuple[str, str], Callable[..., Any]]:
    """(Keras's module, class) -> our operation, for every public one."""
    ops = public("ops")
    apart = [getattr(ops, name, None) for name in ("image", "image_color")]
    found = {}
    for module in (*ops.homes(), *filter(None, apart), public("activations")):
        for name in module.__all__:
            function = getattr(module, name)
            if inspect.isfunction(function):
                found[_address(name, module.__name__)] = function
    return found


def address(function: Function) -> tuple[str, str]:
    """Keras's module and class for a node's operation.

    Raises ValueError for a function that is no public operation.
    """
    module = getattr(function.function, "__module__", None) or ""
    name = SAME.get(function.kind, function.kind)
    known = _table()
    places = [_address(name, module)]
    if module == "carnyx.activations" and function.kind != "relu":  # most are operations too
        places = [(PREFIX + home, _class_name(name)) for home in ("nn", "numpy")] + places
    for place in places:
        if place in known:
            return place
    raise ValueError(
        f"The operation '{function.name}' cannot be written into a config: {function.kind!r} of "
        f"{module or 'no module'!r} is none of carnyx.ops. Put it into the call() of a Layer."
    )


def is_operation(config: dict[str, Any]) -> bool:
    """Whether a config says that it is an operation, not a layer."""
    module = str(config.get("module"))
    return module.startswith(PREFIX) or module == ACTIVATIONS


def lookup(module: str, class_name: str) -> Callable[..., Any]:
    """Our operation of that address."""
    found = _table().get((module, class_name))
    if found is None:
        names = [name for _, name in _table()]
        raise ValueError(
            f"Cannot build the operation {class_name!r} (module {module!r}): it is none of "
            f"carnyx.ops.{nearest(class_name, names)}"
        )
    return found


def _in_node(operation: str, parameter: str) -> bool:
    if parameter in MORE_IN_NODE.get(operation, ()):
        return True
    return parameter in IN_NODE and parameter not in IN_CONFIG.get(operation, ())


def written(
    function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """A call's (config, arguments of the node, named arguments of the node)."""
    bound = inspect.signature(function.function).bind(*args, **kwargs)
    bound.apply_defaults()
    config: dict[str, Any] = {}
    node: list[Any] = []
    named: dict[str, Any] = {}
    for p in bound.signature.parameters.values():
        value = bound.arguments[p.name]
        if p.name == "key":  # a list is an array of indices; in files a list may be a tuple
            value = tuple(map(_array, value)) if isinstance(value, tuple) else _array(value)
        if p.kind is p.VAR_POSITIONAL:
            node += value
        elif p.kind is p.VAR_KEYWORD:
            named |= value
        elif _in_node(function.kind, p.name):
            node.append(value)
        elif any_symbol(value):  # a size or an axis that is computed: Keras has no place for it
            named[p.name] = value
        else:
            if p.name == "dtype" and value is not None:
                value = dtypes.standardize_dtype(value)
            config[p.name] = value
    return config, node, named


def _array(index: Any) -> Any:
    return np.asarray(index) if isinstance(index, list) else index


def called(
    operation: Callable[..., Any], config: dict[str, Any], node: list[Any], named: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments for `operation` of what a config and a node hold: what `written` took apart."""
    given = {k: v for k, v in config.items() if k != "name"} | named
    given = {k: v for k, v in given.items() if k not in FOREIGN or v != FOREIGN[k]}
    waiting, args, kwargs = list(node), [], {}
    skipped = False
    for p in inspect.signature(operation).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            args += waiting
            waiting = []
        elif p.kind is p.VAR_KEYWORD:
            kwargs |= given
            given = {}
        elif p.name in given or waiting:
            value = given.pop(p.name) if p.name in given else waiting.pop(0)
            if skipped or p.kind is p.KEYWORD_ONLY:
                kwargs[p.name] = value
            else:
                args.append(value)
        else:
            skipped = True
    if given or waiting:
        name = getattr(operation, "__name__", operation)
        raise ValueError(
            f"The config of the operation {name!r} has arguments that it does not take: "
            f"{given or waiting}"
        )
    return args, kwargs
