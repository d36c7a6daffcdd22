"""Loss: sample weights, masks and reduction, written once for all losses.

The unreduced formulas are in `regression.py`, `probabilistic.py` and `margin.py`; which targets
they take, and the errors for others, in `targets.py`.
"""

from __future__ import annotations

import inspect
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes
from carnyx.core.config import (
    Configurable,
    deserialize,
    get_registered_object,
    public,
    serialize,
    snake_case,
    unique_name,
)
from carnyx.core.state import get_mask
from carnyx.losses import targets as target_rules
from carnyx.ops.crossentropy import as_floats

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


def as_tensors(structure: Any, dtype: str | None) -> Any:
    """Arrays for arrays, numbers, nested lists of numbers, and structures of these."""

    def convert(x: Any) -> Any:
        return jnp.asarray(x, dtype=dtype)

    if isinstance(structure, (list, tuple)) and not any(map(np.ndim, jax.tree.leaves(structure))):
        return convert(structure)
    return jax.tree.map(convert, structure)


def pair(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """`as_floats`, and of one rank where a last axis of size 1 is all the difference."""
    return same_rank(*as_floats(y_true, y_pred))


def divide_no_nan(a: Any, b: Any) -> Any:
    """a / b, and 0 where b = 0, with a finite gradient there too."""
    return jnp.where(b == 0, 0.0, a / jnp.where(b == 0, 1.0, b))


def same_rank(a: Any, b: Any) -> tuple[Any, Any]:
    """Both of one rank, if their ranks differ by one and the longer one's last axis has size 1.

    The longer one loses that axis; only a vector [B] gains it instead, to become [B, 1].

    >>> [x.shape for x in same_rank(jnp.ones((4,)), jnp.ones((4, 1)))]
    [(4, 1), (4, 1)]
    """
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[..., None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[..., None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


def align_weights(weights: Any, shape: tuple[int, ...]) -> Any:
    """Weights that broadcast against `shape`: those of the first axes get axes of size 1 behind.

    [B] against [B, T] is one weight per sample, also where B = T. (Keras takes it for weights of
    the last axis: it fails for B != T, and for B = T weighs the steps.)
    """
    given, missing = tuple(weights.shape), len(shape) - weights.ndim
    if weights.ndim and missing > 0:
        weights = weights.reshape(weights.shape + (1,) * missing)
    fits = missing >= 0 and all(w in (1, n) for w, n in zip(weights.shape, shape, strict=False))
    if not fits:
        raise ValueError(
            f"sample_weight of shape {given} does not fit values of shape "
            f"{tuple(shape)}. Give one weight per sample, shape {tuple(shape[:1])}, or one per "
            f"value, shape {tuple(shape)}."
        )
    return weights


def merge_mask(sample_weight: Any, mask: Any, dtype: str, mean: bool) -> Any:
    """Sample weights with a mask's zeros in them; None without either.

    With `mean` the values that count weigh (all / those that count), so that a mean over all
    is the mean of those that count.
    """
    if mask is None:
        return sample_weight
    weight = jnp.asarray(mask, dtype)
    if mean:
        count = jnp.sum(weight, dtype="float32")
        weight = weight * (weight.size / jnp.maximum(count, 1.0)).astype(dtype)
    if sample_weight is None:
        return weight
    weight, sample_weight = same_rank(weight, jnp.asarray(sample_weight, dtype))
    if sample_weight.ndim < weight.ndim:
        sample_weight = align_weights(sample_weight, weight.shape)
    elif weight.ndim < sample_weight.ndim:
        weight = align_weights(weight, sample_weight.shape)
    return sample_weight * weight


def reduce_weighted(
    values: Any, sample_weight: Any, mask: Any, reduction: str | None, dtype: str
) -> Any:
    """The loss for unreduced values, weights and mask under a reduction of `REDUCTIONS`."""
    values = jnp.asarray(values, dtype)
    mean = reduction in ("sum_over_batch_size", "mean")
    weights = merge_mask(sample_weight, mask, dtype, mean)
    if weights is not None:
        values, weights = same_rank(values, jnp.asarray(weights, dtype))
        values = values * (align_weights(weights, values.shape) if values.ndim else weights)
    if reduction in (None, "none") or values.ndim == 0:
        return values
    wide = jnp.promote_types(dtype, "float32")  # 70,000 float16 ones sum to infinity
    total = jnp.sum(values, dtype=wide)
    if reduction == "mean_with_sample_weight" and weights is not None:
        total = divide_no_nan(total, jnp.sum(weights, dtype=wide))
    elif reduction != "sum":
        total = total / max(values.size, 1)
    return total.astype(dtype)


class Loss(Configurable):
    """Base of losses: `call` gives unreduced values, `__call__` weighs, masks and reduces them.

    Args:
        name: the loss's name; None makes one from the class.
        reduction: "sum_over_batch_size" or "mean" (weighted sum / number of values), "sum",
            "mean_with_sample_weight" (weighted sum / sum of weights), "none" or None.
        dtype: float type (or policy) to compute in; None is `floatx`.

    Raises ValueError for an unknown reduction.

    >>> class Cubic(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return jnp.mean(jnp.abs(y_pred - y_true) ** 3, axis=-1)
    >>> float(Cubic()([[0.0], [0.0]], [[1.0], [2.0]], sample_weight=[1.0, 0.5]))
    2.5
    """

    # What targets the loss takes: a kind of `targets.EXPECTED`, or None for anything.
    targets: str | None = None

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        self.name = name or unique_name(snake_case(type(self).__name__))
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"Loss '{self.name}': unknown reduction {reduction!r}. "
                f"Expected one of {REDUCTIONS}."
            )
        self.reduction = reduction
        self.dtype: str = dtypes.get_policy(dtype or dtypes.floatx()).compute_dtype

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Unreduced values, [B, ...] -> [B, ...]; what a subclass defines."""
        raise NotImplementedError(
            f"{type(self).__name__} defines no call(y_true, y_pred), which returns the unreduced "
            "loss values."
        )

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        mask = None if isinstance(y_pred, (list, tuple, dict)) else get_mask(y_pred)
        y_pred = as_tensors(y_pred, self.dtype)
        # Labels stay integers: bfloat16 has no 257.
        y_true = as_tensors(y_true, None if self.targets in target_rules.WHOLE else self.dtype)
        values = self.call(y_true, y_pred)
        own = get_mask(values)
        if own is not None:
            mask = own if mask is None else mask & own
        return reduce_weighted(values, sample_weight, mask, self.reduction, self.dtype)

    def check(
        self,
        y_true: Any,
        output_shape: tuple[int | None, ...],
        where: str,
        output_name: str | None = None,
    ) -> None:
        """Raises ValueError if targets do not fit the loss and an output of this shape.

        Args:
            y_true: the targets, an array-like on the host, shape [N, ...].
            output_shape: the output's shape; None where a size is not known, as for the batch.
            where: the method that the user called, for the message ("fit").
            output_name: the output's name, for models with several.
        """
        if self.targets is None or not output_shape:
            return
        facts = target_rules.Targets(
            np.asarray(y_true),
            tuple(output_shape),
            getattr(self, "axis", -1),
            getattr(self, "ignore_class", None),
        )
        target_rules.check(self.targets, facts, self.name, where, output_name)

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        return name != "dtype" or value is not None  # as Keras writes it

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


@dataclass_transform(eq_default=False)
class FunctionConfig(Configurable):
    """Config of an object made of a function `fn` and keyword arguments for it."""

    fn: Any
    function: Any  # of a class for one function
    _fn_kwargs: dict[str, Any]
    _home = "losses"  # the module whose functions a config may name

    def __init_subclass__(cls, function: Any = None, name: str | None = None) -> None:
        """A class for one function is a dataclass, and has the function's documentation too.

        Its own fields are the function's arguments. The fields of the wrapper, which type checkers
        take for keyword-only, follow them where the class does not say otherwise; the default of
        `name` is the function's name (or `name`).
        """
        super().__init_subclass__()
        if function is not None:
            made: Any = cls
            made.function = staticmethod(function)
            own, more = (inspect.cleandoc(it.__doc__ or "") for it in (cls, function))
            made.__doc__ = f"{own}\n\n`{function.__name__}`: {more}\n"
            if "name" not in vars(cls):
                made.name = name or function.__name__
            declared = inspect.get_annotations(cls)
            for key, kind in inspect.get_annotations(cls._wrapper()).items():
                declared.setdefault(key, kind)
            made.__annotations__ = {key: kind for key, kind in declared.items() if key != "_"}
            dataclass(eq=False, repr=False, match_args=False)(cls)

    @classmethod
    def _wrapper(cls) -> Any:
        """The class that wraps any function of this kind: LossFunctionWrapper, say."""
        return cls.__mro__[cls.__mro__.index(FunctionConfig) - 1]

    def __post_init__(self: Any) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        self._wrapper().__init__(self, self.function, **given)

    def _wrap(self, fn: Any, kwargs: dict[str, Any]) -> None:
        """Keeps the function and its arguments, which are attributes too where none is so named."""
        self.fn, self._fn_kwargs = fn, kwargs
        for key, value in kwargs.items():
            if not hasattr(self, key):
                setattr(self, key, value)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if "fn" in config:
            config.update(serialize(self._fn_kwargs))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        if "fn" in config:
            config = {**config, "fn": cls._function(config["fn"])}
        return super().from_config(config)

    @classmethod
    def _function(cls, fn: Any) -> Any:
        if not isinstance(fn, (str, dict)):
            return fn
        home = public(cls._home)
        if isinstance(fn, str):
            return home.FUNCTIONS.get(fn) or home.get(fn)
        if get_registered_object(fn.get("registered_name", "")) is None:
            known = home.FUNCTIONS.get(fn.get("config"))
            if known is not None:
                return known
        return deserialize(fn)


class LossFunctionWrapper(FunctionConfig, Loss):
    """A loss made of a function `fn(y_true, y_pred, **kwargs)` of unreduced values.

    >>> float(LossFunctionWrapper(lambda t, p: abs(t - p), reduction="sum")([1.0, 2.0], [0.0, 5.0]))
    4.0
    >>> def power(y_true, y_pred, exponent=3.0):
    ...     return jnp.mean(jnp.abs(y_pred - y_true) ** exponent, axis=-1)
    >>> class Power(LossFunctionWrapper, function=power):
    ...     exponent: float = 3.0
    >>> Power(), float(Power(2.0, "sum")([[0.0], [0.0]], [[1.0], [2.0]]))
    (<Power name=power>, 5.0)
    """

    _: KW_ONLY
    reduction: str | None = "sum_over_batch_size"
    name: Any = None
    dtype: Any = None

    def __init__(
        self,
        fn: Any,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.targets = getattr(fn, "targets", None)
        self._wrap(fn, kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not isinstance(y_pred, (list, tuple, dict)) and self.targets not in target_rules.WHOLE:
            y_true, y_pred = same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)
