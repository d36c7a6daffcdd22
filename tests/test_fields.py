"""Declared constructors: the signature that is written, what is kept, errors, heirs, configs."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any, ClassVar

import pytest

from carnyx import layers
from carnyx.core.config import Configurable
from carnyx.core.fields import Given, declared, tail
from carnyx.layers.arguments import Declared, Fraction, Whole


@tail
class Ending:
    rate: Fraction = 0.5
    seed: Any = None


@declared
class Sample(Ending, Declared, layers.Layer):
    """A layer.

    Args:
        count: how many.
        [shared]
    """

    kinds: ClassVar[tuple[str, ...]] = ("a",)
    shared = "no field"
    count: Whole
    flat: bool = False
    extra: Given = None
    dtype: Any = None  # of `Layer`, which gets it
    activity_regularizer: Any = None

    def _set_up(self, extra: Any) -> None:
        super()._set_up()
        self.doubled = 2 * self.count if extra is None else extra


class Heir(Sample):
    """Without a constructor; its annotation is no field."""

    note: str = "mine"


class Writer(Sample):
    def __init__(self, count: int, more: int = 7, **kwargs: Any) -> None:
        super().__init__(count, **{"flat": True, **kwargs})
        self.more = more


@declared
class Wider(Sample):
    width: Whole
    count: Whole
    seed: ClassVar[Any] = 5
    rate: Fraction = 0.125


@declared
class Plain(Configurable):
    factor: float
    centre: float = 0.0


def test_the_signature_has_own_fields_then_those_of_bases() -> None:
    names = "count flat extra dtype activity_regularizer rate seed kwargs".split()
    parameters = inspect.signature(Sample).parameters
    assert list(parameters) == names
    assert parameters["count"].default is inspect.Parameter.empty
    assert (parameters["rate"].default, parameters["rate"].annotation) == (0.5, "Fraction")
    assert parameters["kwargs"].kind is inspect.Parameter.VAR_KEYWORD
    assert Sample.__init__.__qualname__ == "Sample.__init__"
    assert Sample.__init__.__module__ == __name__
    assert str(inspect.signature(Plain)) == "(factor: 'float', centre: 'float' = 0.0) -> None"
    assert inspect.signature(Heir) == inspect.signature(Sample)


def test_redeclared_fields_move_and_a_class_variable_takes_one_away() -> None:
    with pytest.raises(SyntaxError, match="non-default argument"):

        @declared
        class Wrong(Configurable):
            first: int = 1
            second: int

    wanted = "width count rate flat extra dtype activity_regularizer kwargs".split()
    assert list(inspect.signature(Wider).parameters) == wanted
    assert Wider(2, 3, 0.25).seed == 5 and "seed" not in Wider(2, count=3).get_config()


def test_arguments_are_checked_kept_and_handed_on() -> None:
    layer: Any = Sample(3, 1, None, "float16", "l2", 0.75, name="s", trainable=False)  # type: ignore[call-arg]
    assert (layer.count, layer.flat, layer.rate, layer.seed) == (3, True, 0.75, None)
    assert (layer.name, layer.compute_dtype, layer.trainable) == ("s", "float16", False)
    assert type(layer.activity_regularizer).__name__ == "L2" and layer.doubled == 6
    assert not hasattr(layer, "extra") and Sample(3, extra=9).doubled == 9
    with pytest.raises(ValueError, match=r"Heir 'h': rate must be a number in \[0, 1\]"):
        Heir(3, rate=2, name="h")


def test_defaults_are_no_attributes_of_the_class() -> None:
    """Else they would hide the property `dtype` of layers, and answer before they are set."""
    assert not any(hasattr(Sample, name) for name in ("count", "flat", "rate", "extra"))
    assert isinstance(inspect.getattr_static(Sample, "dtype"), property)
    assert Sample.kinds == ("a",) and Sample.shared == "no field" and Heir.note == "mine"


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Sample(), TypeError, r"Sample.__init__\(\) missing 1 required .*: 'count'"),
        (lambda: Heir(1, 2, count=3), TypeError, r"Sample.__init__\(\) got multiple values"),
        (lambda: Plain(1, 2, 3), TypeError, r"Plain.__init__\(\) takes from 2 to 3 positional"),
        (lambda: Plain(1, center=2), TypeError, r"Plain.__init__\(\) got an unexpected .*'center'"),
        (lambda: Sample(1, fat=True), ValueError, "no argument 'fat'. Did you mean 'flat'"),
    ],
)
def test_wrong_calls_are_explained(make: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


def test_a_declared_class_does_not_write_its_constructor() -> None:
    with pytest.raises(TypeError, match="Both is declared: it has a _set_up"):

        @declared
        class Both(Configurable):
            def __init__(self) -> None: ...


def test_subclasses_of_users_keep_working() -> None:
    assert Heir(4).note == "mine" and Heir(4).count == 4
    written = Writer(2, name="w")
    assert (written.count, written.flat, written.rate, written.more) == (2, True, 0.5, 7)
    with pytest.raises(TypeError, match=r"Writer.__init__\(\) missing .*'count'"):
        Writer()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "layer", [Sample(2, seed=1), Heir(2, True), Writer(2, 8), Wider(2, 3, 0.5)]
)
def test_copies_and_configs(layer: Any) -> None:
    for twin in (
        type(layer).from_config(layer.get_config()),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
    ):
        assert twin.get_config() == layer.get_config()
        assert (type(twin), twin.rate, twin.doubled) == (type(layer), layer.rate, layer.doubled)


def test_configs_hold_the_fields() -> None:
    config = Sample(2, rate=0.25, name="s", extra=3).get_config()
    assert {"count": 2, "flat": False, "rate": 0.25, "seed": None}.items() <= config.items()
    assert "extra" not in config
    assert Plain(2.0).get_config() == {"factor": 2.0, "centre": 0.0}


def test_shared_descriptions_are_those_of_the_written_signature() -> None:
    doc = Sample.__doc__ or ""
    assert "[shared]" not in doc and doc.count("rate: a fraction in [0, 1]") == 1
    assert "activity_regularizer: a penalty" in doc and "units" not in doc
