"""Configs: constructor arguments recorded, objects written as plain data and made again from it.

A class that inherits `Configurable` needs no `get_config`: its constructor's arguments are
recorded and read back through its attributes. What may be built from a config is a closed list:
Carnyx's own public classes and what the user registered or passed by hand. Nothing is imported by
a path that stands in a file.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from carnyx.core.errors import nearest

# Where configs say a class comes from -> the module of ours that has it.
OWN_MODULES = {
    "keras": "carnyx",
    **{
        f"keras.{name}": f"carnyx.{name}"
        for name in (
            "activations constraints initializers layers losses metrics models optimizers "
            "regularizers random utils"
        ).split()
    },
    "keras.optimizers.schedules": "carnyx.optimizers.schedules",
    "keras.dtype_policies": "carnyx.dtype_policies",
    "keras.src.models.functional": "carnyx.models",
    "builtins": "builtins",
}


def public(module: str) -> Any:
    """The public module `carnyx.<module>`, imported when it is needed.

    Core stands below initializers, regularizers and the rest; where it must turn a user's name
    into one of their objects it asks here, at run time, so that imports keep their one direction.
    """
    return importlib.import_module(f"carnyx.{module}")


# Modules whose functions Keras's files name without saying where they are.
OWN_FUNCTIONS = ("activations", "losses", "metrics", "ops")
# Arguments of our classes that may be the path of a file: a config from a file may not say so.
PATHS = ("vocabulary", "idf_weights", "filepath")

SEVERAL = "shapes_dict"

_registered: dict[str, Any] = {}
_written: dict[int, tuple[Any, dict[str, Any], int]] | None = None  # inside `sharing()`
_built: dict[Any, Any] | None = None  # shared_object_id -> object, inside `deserialize`
_scopes: list[dict[str, Any]] = []
_counts: dict[str, int] = {}


def snake_case(name: str) -> str:
    """`MaxPooling2D` -> `max_pooling2d`.

    >>> snake_case("BatchNormalization"), snake_case("LSTM"), snake_case("Conv2DTranspose")
    ('batch_normalization', 'lstm', 'conv2d_transpose')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def unique_name(base: str) -> str:
    """`base`, then `base_1`, `base_2`... on later calls."""
    count = _counts.get(base, 0)
    _counts[base] = count + 1
    return f"{base}_{count}" if count else base


def clear_session(free_memory: bool = True) -> None:
    """Starts automatic names anew: the next Dense is called "dense" again."""
    _counts.clear()


class Configurable:
    """Base of everything that a config can describe: records its constructor's arguments.

    >>> class Scale(Configurable):
    ...     def __init__(self, factor, name="scale"):
    ...         self.factor = factor
    >>> Scale(3).get_config()
    {'factor': 3, 'name': 'scale'}
    """

    _recorded: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        instance = super().__new__(cls)
        object.__setattr__(instance, "_recorded", (args, kwargs))
        return instance

    def _keep_fields(self, owner: type, given: dict[str, Any]) -> None:
        """Keeps the arguments of a constructor that `fields.declared` wrote for `owner`."""
        for name, value in given.items():
            setattr(self, name, value)

    def _set_up(self) -> None:
        """What such a constructor does last; a field of type `Given` is an argument here."""

    @classmethod
    def _describe(cls) -> None:
        """Called when `cls` has such a constructor, to complete its docstring."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data, from which `from_config` makes a twin."""
        return {
            name: serialize(self._config_value(name, value, owner))
            for name, value, owner in self._arguments()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new object from `get_config`'s result."""
        try:
            return cls(**{key: _revive(value) for key, value in config.items()})
        except TypeError as error:
            raise TypeError(
                f"{cls.__name__}.from_config: the constructor refused the config {config}: {error}"
            ) from error

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        """What goes into the config: our classes keep each argument, normalised, as an attribute;
        in a user's class an attribute of that name may mean something else."""
        if owner.__module__.startswith("carnyx."):
            return getattr(self, name, recorded)
        return recorded

    def _arguments(self) -> Iterator[tuple[str, Any, type]]:
        """(name, recorded value, class that declares it) of every constructor argument."""
        args, kwargs = self._recorded
        seen: set[str] = set()
        declared = False
        for owner in type(self).__mro__:
            init = vars(owner).get("__init__")
            if init is None or owner is object:
                continue
            before, declared = declared, "_declared" in vars(owner)
            if before and declared:  # the one before has the fields of this one too
                continue
            parameters = list(inspect.signature(init).parameters.values())[1:]
            bound = dict(zip((p.name for p in parameters), args, strict=False))
            args = ()
            for p in parameters:
                if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name in seen:
                    continue
                seen.add(p.name)
                if p.annotation == "Given":
                    continue
                default = None if p.default is p.empty else p.default
                value = bound.get(p.name, kwargs.get(p.name, default))
                if self._in_config(p.name, value, default, owner):
                    yield p.name, value, owner
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                return

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        return True


def serialize(value: Any) -> Any:
    """Plain data for a value: objects become {"module", "class_name", "config"} dictionaries."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, slice):
        parts = {"start": value.start, "stop": value.stop, "step": value.step}
        return {"class_name": "__slice__", "config": {k: serialize(v) for k, v in parts.items()}}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(value, dict):
        return {key: serialize(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([serialize(item) for item in value])
    if isinstance(value, (types.FunctionType, type)):
        return _serialize_name(value)
    if hasattr(value, "get_config"):
        return serialize_object(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        array = np.asarray(value)
        config = {"value": array.tolist(), "dtype": array.dtype.name}
        return {"class_name": "__numpy__", "config": config}
    if callable(value):  # a jitted function of ours, say
        return getattr(value, "__name__", repr(value))
    raise TypeError(f"Cannot write {type(value).__name__} into a config: {value!r}")


def _serialize_name(value: Any) -> Any:
    registered = _registered_name(value)
    if registered is None and value.__module__.startswith("carnyx."):
        return value.__name__
    return {
        "module": "builtins" if registered is None else None,
        "class_name": "function",
        "config": value.__name__,
        "registered_name": registered or value.__name__,
    }


@contextmanager
def sharing() -> Iterator[None]:
    """Here layers that are written more than once are marked, to be one layer again when read."""
    global _written
    before, _written = _written, {}
    try:
        yield
    finally:
        _written = before


def serialize_object(value: Any) -> dict[str, Any]:
    """The dictionary of an object with `get_config`, in Keras's schema."""
    config = _serialize_object(value)
    if _written is not None and hasattr(value, "get_build_config"):
        if id(value) in _written:
            _, first, number = _written[id(value)]
            first["shared_object_id"] = config["shared_object_id"] = number
        else:
            _written[id(value)] = (value, config, len(_written) + 1)
    return config


def _serialize_object(value: Any) -> dict[str, Any]:
    cls = type(value)
    registered = _registered_name(cls)
    module = None if registered else public_module(cls)
    return {
        "module": module,
        "class_name": cls.__name__,
        "config": value.get_config(),
        "registered_name": registered or (None if module else cls.__name__),
    }


def public_module(cls: type) -> str | None:
    """Where Keras's files say one of our public classes is: "keras.layers" for Dense."""
    parts = cls.__module__.split(".")
    if parts[0] != "carnyx":
        return None
    if hasattr(cls, "keras_module"):  # where the path of our file does not tell
        return cls.keras_module
    for keras_name, own in OWN_MODULES.items():
        if own.startswith("carnyx.") and own.split(".")[1] == parts[1]:
            return keras_name
    return "keras"


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[Any], Any]:
    """Decorator that lets files build a class or function under "package>name".

    >>> @register_keras_serializable("tests")
    ... def twice(x):
    ...     return 2 * x
    >>> get_registered_object("tests>twice") is twice
    True
    """

    def decorate(target: Any) -> Any:
        if inspect.isclass(target) and not hasattr(target, "get_config"):
            raise ValueError(
                f"register_keras_serializable: class {target.__name__} has no get_config(). "
                "Inherit from a Carnyx class, or define get_config and from_config."
            )
        _registered[f"{package}>{name or target.__name__}"] = target
        return target

    return decorate


def get_registered_object(
    name: str, custom_objects: Mapping[str, Any] | None = None, module_objects: Any = None
) -> Any:
    """The class or function registered under `name`, or None."""
    for table in (custom_objects or {}, *reversed(_scopes), _registered, module_objects or {}):
        if name in table:
            return table[name]
    return None


def get_registered_name(obj: Any) -> str:
    """The name that `obj` is registered under, or its own name."""
    return _registered_name(obj) or obj.__name__


def _registered_name(obj: Any) -> str | None:
    return next((key for key, value in _registered.items() if value is obj), None)


class CustomObjectScope:
    """Inside `with CustomObjectScope({"name": cls}):` configs may name these objects."""

    def __init__(self, custom_objects: Mapping[str, Any]) -> None:
        self.custom_objects = dict(custom_objects)

    def __enter__(self) -> CustomObjectScope:
        _scopes.append(self.custom_objects)
        return self

    def __exit__(self, *_: object) -> None:
        _scopes.remove(self.custom_objects)


def get_custom_objects() -> dict[str, Any]:
    """The table of registered objects; what is put in may be built from configs."""
    return _registered


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None, **_: Any) -> Any:
    """The object, function or plain value that `serialize` described.

    Raises ValueError for a class that is neither ours nor registered nor in `custom_objects`.
    """
    global _built
    before = _built
    _built = {} if before is None else before
    try:
        with CustomObjectScope(custom_objects or {}):
            return _revive(config, build=True)
    finally:
        _built = before


def _revive(value: Any, build: bool = False) -> Any:
    """The object of a value; `build` its layers too, but not those in their configs: they will be
    built by the layer that they belong to, or are patterns that it copies."""
    if isinstance(value, list):
        return [_revive(item, build) for item in value]
    if not (isinstance(value, dict) and "class_name" in value and "config" in value):
        return value
    name, config = value["class_name"], value["config"]
    if name == "__numpy__":
        return np.array(config["value"], dtype=config["dtype"])
    if name == "__slice__":
        return slice(*(config[part] for part in ("start", "stop", "step")))
    if name == "__ellipsis__":
        return Ellipsis
    if name == "__tuple__":
        return tuple(_revive(item) for item in config["value"])
    if name == "__lambda__":
        raise ValueError(
            "The config holds the code of a Python lambda. Carnyx does not run code from files, "
            "whatever safe_mode says: make it a function with a name, register that with "
            "@carnyx.saving.register_keras_serializable(), and save the model again."
        )
    shared = value.get("shared_object_id")
    if _built is not None and shared in _built:
        return _built[shared]
    made = _made(value, name, config, build)
    if _built is not None and shared is not None:
        _built[shared] = made
    return made


def _made(value: dict[str, Any], name: Any, config: Any, build: bool) -> Any:
    """The object or function of a config's entry, new."""
    registered = value.get("registered_name")
    target = get_registered_object(registered or name) or get_registered_object(name)
    if name == "function":
        return target or get_registered_object(config) or _own_function(config)
    if target is None:
        target = _own_class(value.get("module"), name)
    if isinstance(config, dict):
        _refuse_paths(target, config)
    instance = target.from_config(config)
    shapes = build and value.get("build_config")
    if shapes and hasattr(instance, "build_from_config"):
        instance.build_from_config(shapes.get(SEVERAL, shapes))
    return instance


def build_config(layer: Any) -> dict[str, Any]:
    """What a layer was built with, in Keras's schema: several shapes stand under a key."""
    shapes = layer.get_build_config() or {}
    several = shapes and all(key.endswith("_shape") and key != "input_shape" for key in shapes)
    return {SEVERAL: shapes} if several else shapes


def _refuse_paths(target: Any, config: dict[str, Any]) -> None:
    """A file names no other file for one of our classes to open, such as a vocabulary's."""
    for key in PATHS:
        if isinstance(config.get(key), str) and any(
            owner.__module__.startswith("carnyx.")
            and key in inspect.signature(vars(owner)["__init__"]).parameters
            for owner in getattr(target, "__mro__", ())
            if "__init__" in vars(owner) and owner is not object
        ):
            raise ValueError(
                f"The config of a {target.__name__} names the file {config[key]!r} as its {key}. "
                "Configs open no files: make the object yourself, or give the values."
            )


def _own_function(name: Any) -> Any:
    """Our public function of a name that Keras's files give without a module."""
    for module in map(public, OWN_FUNCTIONS):
        found = getattr(module, name, None) if isinstance(name, str) else None
        known = name in getattr(module, "__all__", ())
        if known and callable(found) and not isinstance(found, type):
            return found
    return _own_class("builtins", name)


def _own_class(module: str | None, name: str) -> Any:
    if module in OWN_MODULES and module != "builtins":
        home = importlib.import_module(OWN_MODULES[module])
        public = getattr(home, "__all__", [])
        found = getattr(home, name) if name in public else None
        if isinstance(found, type) and hasattr(found, "from_config"):
            return found
        hint = nearest(name, public)
    else:
        hint = ""
    raise ValueError(
        f"Cannot build {name!r} (module {module!r}): it is neither a class of Carnyx nor "
        f"registered.{hint} Register it with @carnyx.saving.register_keras_serializable(), or pass "
        f"custom_objects={{{name!r}: ...}}."
    )


def resolve(identifier: Any, table: Mapping[str, Any], kind: str, base: Any = None) -> Any:
    """The object that a user means by a name, a config, a class, a callable or None.

    `table` maps names to classes or functions; classes are instantiated without arguments. An
    unknown name raises ValueError with the nearest known ones.
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        found = get_registered_object(identifier)
        if found is None:
            found = table.get(identifier)
        if found is None:
            raise ValueError(
                f"Unknown {kind}: {identifier!r}.{nearest(identifier, table)} "
                f"Pass one of the built-in names, an object, or a callable."
            )
        return found() if isinstance(found, type) else found
    if isinstance(identifier, dict):
        if "class_name" not in identifier:
            raise ValueError(f"A {kind} given as a dict is a config. Received: {identifier}")
        known = dict(table)
        name, inner = identifier["class_name"], identifier.get("config", {})
        if "module" not in identifier and name in known:  # the short form of older files
            return known[name].from_config(inner)
        return deserialize(identifier)
    if isinstance(identifier, type):
        return identifier()
    if callable(identifier) or (base is not None and isinstance(identifier, base)):
        return identifier
    raise TypeError(
        f"Cannot interpret {identifier!r} as a {kind}: pass a name, an object, a callable or None."
    )
