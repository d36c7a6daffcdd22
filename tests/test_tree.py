"""Nested structures: every function against Keras's, on structures of every kind."""

from collections import OrderedDict, defaultdict, deque, namedtuple

import numpy as np
import pytest
from keras import tree as theirs

import carnyx.tree as ours

Pair = namedtuple("Pair", "x y")
Other = namedtuple("Other", "x y")
TREES = [
    5, None, "ab", [], (), {}, [None], [1, (2, {"b": 3, "a": [4]})], {"b": 1, "a": [2, (3, None)]},
    {2: 1, "a": 3}, OrderedDict([("b", 1), ("a", [2])]), defaultdict(list, {"b": 1, "a": 2}),
    Pair(1, [2]), deque([1, (2,)]), {1, 2}, range(3), [[], {}], {"a": (1, None), "b": [(3,), 4]},
    [(1, 2), [3, None]], {"x": Pair((1,), {}), "y": deque()},
]  # fmt: skip
PAIRS = [
    ([1, 2], [3, 4]), ([1, 2], (3, 4)), ([1, 2], [3]), ({"a": 1}, {"b": 1}), ([1], [None]),
    ({"a": 1, "b": 2}, {"b": 3, "a": 4}), ([1], [[1]]), (1, [1]), (1, 2), (Pair(1, 2), Other(1, 2)),
    (Pair(1, 2), (1, 2)), ({"a": 1}, OrderedDict(a=2)), ([None, 1], [2, 3]), ([None], [None]),
    ([1, [2]], [1, 2]), ({"a": [1]}, {"a": [[1, 2]]}), ([1], {0: 1}), ([], {}),
]  # fmt: skip


def outcome(function, *args, **kwargs):
    """The result, its inner types told apart, or the kind of the error."""
    try:
        return repr(function(*args, **kwargs))
    except (ValueError, TypeError) as error:
        return type(error).__name__


def agree(name, *args, **kwargs):
    expected = outcome(getattr(theirs, name), *args, **kwargs)
    assert outcome(getattr(ours, name), *args, **kwargs) == expected, (name, args, kwargs)
    return expected


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_one_structure(tree):
    for name in ("is_nested", "flatten", "flatten_with_path", "lists_to_tuples"):
        agree(name, tree)
    for none_is_leaf in (True, False):
        agree("map_structure", lambda x: (x, 1), tree, none_is_leaf=none_is_leaf)
    leaves = ours.flatten(tree)
    for count in (len(leaves) - 1, len(leaves), len(leaves) + 1):
        agree("pack_sequence_as", tree, [10 * i for i in range(max(count, 0))])
    assert outcome(lambda: ours.pack_sequence_as(tree, leaves)) == repr(tree)
    agree("map_shape_structure", lambda shape: ("shape", shape), tree)
    for top_down in (True, False):
        for function in (
            lambda x: None,
            lambda x: x + 1 if isinstance(x, int) else None,
            lambda x: "list" if isinstance(x, list) else None,
            lambda x: [x] if isinstance(x, str) else None,
            lambda x: 0 if x is None else None,
        ):
            agree("traverse", function, tree, top_down=top_down)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_two_structures(a, b):
    for name in ("assert_same_structure", "assert_same_paths"):
        agree(name, a, b)
    for none_is_leaf in (True, False):
        agree("map_structure", lambda x, y: (x, y), a, b, none_is_leaf=none_is_leaf)
    if None in theirs.flatten([a, b]):
        return  # Keras's map_structure_up_to refuses None, which is a leaf everywhere else
    agree("map_structure_up_to", a, lambda x: x, b)
    agree("map_structure_up_to", a, lambda x, y: (x, y), b, b)


def test_none_by_request_and_arrays():
    for top_down in (True, False):
        mapped = ours.traverse(
            lambda x: ours.MAP_TO_NONE if isinstance(x, int) else None, [1, "a"], top_down
        )
        assert mapped == [None, "a"]
    array = np.ones((2, 2))
    assert ours.flatten({"a": [array]})[0] is array and not ours.is_nested(array)
    assert sorted(ours.__all__) == [n for n in dir(theirs) if not n.startswith("_")]
    assert ours.map_structure_up_to([0, None], str, [[1], None]) == ["[1]", "None"]
    kept = ours.map_structure(lambda x: x, defaultdict(list, a=1))
    assert kept["new"] == [] and ours.map_structure(len, deque(["a"], maxlen=3)).maxlen == 3


def test_errors_say_what_differs_and_where():
    with pytest.raises(ValueError, match=r"at \('a', 1\): expected a list.*Received: \(4,\)"):
        ours.map_structure(lambda *x: x, {"a": [1, [2]]}, {"a": [3, (4,)]})
    with pytest.raises(ValueError, match=r"expected the parts \['a'\] of a dict.*\['b'\]"):
        ours.assert_same_structure({"a": 1}, {"b": 1})
    with pytest.raises(ValueError, match="has 2 leaves. Received: 3"):
        ours.pack_sequence_as([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"Only in the first: \[\(1,\)\]"):
        ours.assert_same_paths([1, 2], [1])
    for name in ("map_structure", "traverse", "map_shape_structure"):
        with pytest.raises(TypeError, match=f"{name}: func is a function. Received: 5"):
            getattr(ours, name)(5, [1])
