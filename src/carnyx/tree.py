"""Nested structures: lists, tuples, named tuples, deques and dictionaries, and what is in them.

Everything else, None and arrays included, is a leaf. A dictionary is read in the order of its
sorted keys (an `OrderedDict` in its own), and keeps its own order when it is made anew.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any

__all__ = """
    MAP_TO_NONE assert_same_paths assert_same_structure flatten flatten_with_path is_nested
    lists_to_tuples map_shape_structure map_structure map_structure_up_to pack_sequence_as traverse
""".split()
_DICTS = (dict, OrderedDict, defaultdict)


class MAP_TO_NONE:
    """What a function given to `traverse` returns to put None into the structure."""


def is_nested(structure: Any) -> bool:
    """Whether this is a structure, empty or not, and no leaf.

    >>> is_nested([]), is_nested({"a": 1}), is_nested("ab"), is_nested(None)
    (True, True, False, False)
    """
    return type(structure) in (list, tuple, deque, *_DICTS) or _is_named(structure)


def _is_named(structure: Any) -> bool:
    return isinstance(structure, tuple) and hasattr(structure, "_fields")


def _keys(structure: Any) -> list[Any]:
    """The keys or indices of a structure's parts, in the order of reading."""
    if not isinstance(structure, dict):
        return list(range(len(structure)))
    if isinstance(structure, OrderedDict):
        return list(structure)
    try:
        return sorted(structure)
    except TypeError:  # keys of several types: by type first
        return sorted(structure, key=lambda key: (type(key).__qualname__, str(key)))


def _parts(structure: Any) -> list[Any]:
    return [structure[key] for key in _keys(structure)]


def _made(like: Any, parts: Iterable[Any]) -> Any:
    """A structure of the same kind and keys around other parts."""
    if isinstance(like, dict):
        new = dict(zip(_keys(like), parts, strict=True))
        kept = [(key, new[key]) for key in like]
        if isinstance(like, defaultdict):
            return type(like)(like.default_factory, kept)
        return type(like)(kept)
    if _is_named(like):
        return type(like)(*parts)
    return deque(parts, like.maxlen) if isinstance(like, deque) else type(like)(parts)


def _check_alike(one: Any, other: Any, path: tuple[Any, ...]) -> None:
    """Refuses two structures of which the second has another kind or other parts."""
    kinds = [dict if isinstance(s, dict) else type(s) for s in (one, other)]
    where = f" at {path}" if path else ""
    if kinds[0] is not kinds[1]:
        raise ValueError(
            f"Structures differ{where}: expected a {type(one).__name__} as the first one has. "
            f"Received: {other!r}"
        )
    if len(one) != len(other) or set(_keys(one)) != set(_keys(other)):
        raise ValueError(
            f"Structures differ{where}: expected the parts {_keys(one)} of a "
            f"{type(one).__name__}. Received: {_keys(other)}"
        )


def _mapped(
    function: Callable[..., Any],
    first: Any,
    others: tuple[Any, ...],
    path: tuple[Any, ...] = (),
    deep: bool = True,
    none_is_leaf: bool = True,
) -> Any:
    """The first structure with the function of the leaves there; `deep`: all end with the first."""
    if not is_nested(first):
        none = [value is None for value in (first, *others)]
        if any(none) and not none_is_leaf:
            if not all(none):
                raise ValueError(
                    f"Structures differ at {path}: None in some. Received: {(first, *others)}"
                )
            return None
        if deep and any(is_nested(other) for other in others):
            raise ValueError(f"Structures differ at {path}: a leaf in one, a structure in another.")
        return function(*others) if not deep else function(first, *others)
    for other in others:
        _check_alike(first, other, path)
    parts = (
        _mapped(function, first[k], tuple(o[k] for o in others), (*path, k), deep, none_is_leaf)
        for k in _keys(first)
    )
    return _made(first, parts)


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """The structure with `func(leaf, leaf of the second, ...)` for every leaf.

    Raises ValueError if the structures differ, and TypeError if `func` is no function. With
    none_is_leaf=False, None stays None.

    >>> map_structure(lambda a, b: a + b, {"a": 1, "b": [2]}, {"a": 10, "b": [20]})
    {'a': 11, 'b': [22]}
    """
    _check_callable("map_structure", func)
    if not structures:
        raise ValueError("map_structure: give one structure at least.")
    return _mapped(func, structures[0], structures[1:], none_is_leaf=none_is_leaf)


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """`map_structure` that goes as deep as `shallow_structure`: what is below is given whole.

    >>> map_structure_up_to([0, 0], len, [[1, 2], [3]])
    [2, 1]
    """
    _check_callable("map_structure_up_to", func)
    if not structures:
        raise ValueError("map_structure_up_to: give one structure at least.")
    return _mapped(func, shallow_structure, structures, deep=False)


def _check_callable(name: str, func: Any) -> None:
    if not callable(func):
        raise TypeError(f"{name}: func is a function. Received: {func!r}")


def flatten(structure: Any) -> list[Any]:
    """The leaves.

    >>> flatten({"b": 1, "a": [2, (3, None)]})
    [2, 3, None, 1]
    """
    return [leaf for _, leaf in flatten_with_path(structure)]


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """The leaves with the keys and indices that lead to them.

    >>> flatten_with_path({"a": [5]})
    [(('a', 0), 5)]
    """
    if not is_nested(structure):
        return [((), structure)]
    return [
        ((key, *path), leaf)
        for key in _keys(structure)
        for path, leaf in flatten_with_path(structure[key])
    ]


def pack_sequence_as(structure: Any, flat_sequence: Any) -> Any:
    """The structure with the leaves of a sequence, which has as many: inverse of `flatten`.

    >>> pack_sequence_as([1, (2,)], [5, 6])
    [5, (6,)]
    """
    leaves, wanted = list(flat_sequence), len(flatten(structure))
    if len(leaves) != wanted:
        raise ValueError(
            f"pack_sequence_as: the structure has {wanted} leaves. Received: {len(leaves)}"
        )
    remaining = iter(leaves)
    return map_structure(lambda _: next(remaining), structure)


def traverse(func: Callable[..., Any], structure: Any, top_down: bool = True) -> Any:
    """The structure with every part replaced for which `func` gives something other than None.

    Args:
        func: is asked of structures as well as of leaves; `MAP_TO_NONE` stands for None.
        top_down: a structure is asked before its parts, and these only if it stays.

    >>> traverse(lambda x: tuple(x) if isinstance(x, list) else None, [1, [2]], top_down=False)
    (1, (2,))
    """
    _check_callable("traverse", func)
    found = func(structure) if top_down else None
    if found is None and is_nested(structure):
        structure = _made(structure, [traverse(func, part, top_down) for part in _parts(structure)])
    if not top_down:
        found = func(structure)
    if found is None:
        return structure
    return None if found is MAP_TO_NONE else found


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """Raises ValueError unless both have the same kinds, lengths and keys; leaves may differ.

    `check_types` is there for old programs, and does nothing.

    >>> assert_same_structure({"a": [1]}, {"a": [None]})
    """
    _mapped(lambda *_: None, a, (b,))


def assert_same_paths(a: Any, b: Any) -> None:
    """Raises ValueError unless both have leaves at the same paths, in structures of any kind.

    >>> assert_same_paths([1, (2, 3)], (4, [5, 6]))
    """
    ours, theirs = ({path for path, _ in flatten_with_path(s)} for s in (a, b))
    if ours != theirs:
        first, second = sorted(ours - theirs, key=str), sorted(theirs - ours, key=str)
        raise ValueError(
            f"Structures have other paths. Only in the first: {first}. Only in the second: {second}"
        )


def lists_to_tuples(structure: Any) -> Any:
    """The structure with tuples for lists.

    >>> lists_to_tuples([1, {"a": [2]}])
    (1, {'a': (2,)})
    """
    return traverse(lambda x: tuple(x) if isinstance(x, list) else None, structure, top_down=False)


def map_shape_structure(func: Callable[..., Any], structure: Any) -> Any:
    """The structure with `func(shape)` for every shape: a list or tuple of ints and None.

    >>> map_shape_structure(len, {"a": (None, 3), "b": [(2,)]})
    {'a': 2, 'b': [1]}
    """
    _check_callable("map_shape_structure", func)
    plain = isinstance(structure, (list, tuple))
    shape = plain and all(size is None or isinstance(size, int) for size in structure)
    if shape or not is_nested(structure):
        return func(structure)
    return _made(structure, [map_shape_structure(func, part) for part in _parts(structure)])
