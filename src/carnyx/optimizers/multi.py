"""Several optimizers for one model: which has which weights. The rules are in `rules.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

from carnyx.core import config as _config
from carnyx.core.variable import Variable
from carnyx.optimizers.base import Optimizer
from carnyx.optimizers.loss_scale import LossScaleOptimizer, Wrapper


class OptimizerMap(MutableMapping[str, Optimizer]):
    """From paths of variables to optimizers: exact paths first, then patterns that match all of it.

    Args:
        default_optimizer: for the variables that no key names.
        optimizer_map: path or regular expression -> optimizer.

    Raises:
        ValueError: for a path that two patterns match (when it is looked up); for a key that is
            there already; for an optimizer that wraps others.

    >>> from carnyx.optimizers import SGD, Adam
    >>> chosen = OptimizerMap(SGD(), {"encoder/.*": Adam()})
    >>> type(chosen["encoder/dense/kernel"]).__name__, type(chosen["head/bias"]).__name__
    ('Adam', 'SGD')
    """

    def __init__(
        self, default_optimizer: Optimizer, optimizer_map: dict[str, Optimizer] | None = None
    ) -> None:
        if not isinstance(default_optimizer, Optimizer):
            raise TypeError(
                f"OptimizerMap: default_optimizer is an Optimizer. Received: {default_optimizer!r}"
            )
        if not isinstance(optimizer_map, (dict, type(None))):
            raise TypeError(f"OptimizerMap: optimizer_map is a dict. Received: {optimizer_map!r}")
        self.default_optimizer = default_optimizer
        self._map: dict[str, Optimizer] = {}
        for key, optimizer in (optimizer_map or {}).items():
            self[key] = optimizer

    def __getitem__(self, key: str) -> Optimizer:
        if key in self._map:
            return self._map[key]
        matching = [pattern for pattern in self._map if re.fullmatch(pattern, key)]
        if len(matching) > 1:
            raise ValueError(
                f"OptimizerMap: several patterns match '{key}': {matching}. Make them exclusive, "
                "or add the whole path as a key."
            )
        return self._map[matching[0]] if matching else self.default_optimizer

    def __setitem__(self, key: str, optimizer: Optimizer) -> None:
        if not isinstance(key, str):
            raise ValueError(f"OptimizerMap: keys are strings. Received: {key!r}")
        if key in self._map:
            raise ValueError(
                f"OptimizerMap: '{key}' has an optimizer already, {self._map[key].name!r}. "
                "Delete it first."
            )
        self._map[key] = _plain(optimizer, f"'{key}'")

    def __delitem__(self, key: str) -> None:
        del self._map[key]

    def __contains__(self, key: object) -> bool:
        return key in self._map

    def __iter__(self) -> Iterator[str]:
        return iter(self._map)

    def __len__(self) -> int:
        return len(self._map)

    def __call__(self, variable: Variable) -> Optimizer:
        return self[variable.path]

    def get_config(self) -> dict[str, Any]:
        return {
            "default_optimizer": _config.serialize(self.default_optimizer),
            "optimizer_map": _config.serialize(self._map),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> OptimizerMap:
        revive = _config.deserialize
        inner = {k: revive(v, custom_objects) for k, v in config["optimizer_map"].items()}
        return cls(revive(config["default_optimizer"], custom_objects), inner)


class MultiOptimizer(Wrapper):
    """Gives each variable to one of several optimizers, which have their own learning rates.

    Args:
        optimizer_map: an OptimizerMap, or a function from a variable to its optimizer (the same
            object for variables that belong together).
        loss_scale_factor: for all of them, instead of their own.
        name: of the optimizer.

    Raises:
        AttributeError: for `learning_rate`, which only those in `optimizers` have.

    >>> from carnyx.optimizers import SGD, Adam
    >>> both = MultiOptimizer(OptimizerMap(SGD(), {"kernel": Adam()}))
    >>> kernel, bias = Variable([1.0], name="kernel"), Variable([1.0], name="bias")
    >>> both.build([kernel, bias])
    >>> [type(one).__name__ for one in both.optimizers], len(both.variables)
    (['Adam', 'SGD'], 8)
    """

    def __init__(
        self,
        optimizer_map: OptimizerMap | Callable[[Variable], Optimizer],
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(optimizer_map):
            raise TypeError(
                "MultiOptimizer takes an OptimizerMap, or a function from a variable to an "
                f"optimizer. Received: {optimizer_map!r}"
            )
        self._optimizers = []
        super().__init__(0.0, loss_scale_factor=loss_scale_factor, name=name)
        self.optimizer_map = optimizer_map
        self._owners: list[int] = []  # which optimizer each parameter has
        if isinstance(optimizer_map, OptimizerMap):
            for optimizer in (*optimizer_map._map.values(), optimizer_map.default_optimizer):
                self._index(_plain(optimizer, "default_optimizer"))

    def _index(self, optimizer: Optimizer) -> int:
        """The place of an optimizer among them all; it joins them if it is new."""
        known = [id(one) for one in self._optimizers]
        if id(optimizer) not in known:
            known.append(id(optimizer))
            self._optimizers.append(optimizer)
            optimizer.loss_scale_factor = self.loss_scale_factor
        return known.index(id(optimizer))

    @property
    def optimizers(self) -> list[Optimizer]:
        """Those that do the updates."""
        return self._optimizers

    @property
    def loss_scale_factor(self) -> float | None:
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        self._loss_scale_factor = value
        for optimizer in self._optimizers:
            optimizer.loss_scale_factor = value

    @property
    def learning_rate(self) -> Any:
        raise AttributeError(
            f"MultiOptimizer '{self.name}' has no learning rate of its own: see, or set, those of "
            "its `optimizers`."
        )

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        _ = self.learning_rate  # raises

    def build(self, variables: Sequence[Variable]) -> None:
        if self.built:
            return
        owners = [_plain(self.optimizer_map(v), f"variable '{v.path}'") for v in variables]
        self._owners = [self._index(owner) for owner in owners]
        for index, optimizer in enumerate(self._optimizers):
            own = [v for v, i in zip(variables, self._owners, strict=True) if i == index]
            if own:
                optimizer.build(own)
        super().build(variables)

    def _divided(self, variables: Sequence[Any], values: Sequence[Any]) -> Iterator[Any]:
        """(optimizer, its share of the values, its variables), for each that has any."""
        owners = [self._owners[self._get_variable_index(v)] for v in variables]
        for index, optimizer in enumerate(self._optimizers):
            places = [place for place, owner in enumerate(owners) if owner == index]
            if places:
                yield optimizer, [values[p] for p in places], [variables[p] for p in places]

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        if not len(grads):
            return
        pairs = self._pairs(grads, trainable_variables)
        for optimizer, gradients, own in self._divided(
            [p for _, p in pairs], [g for g, _ in pairs]
        ):
            optimizer.apply(gradients, own)
        self._iterations.assign_add(1)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        for optimizer, _, own in self._divided(var_list, var_list) if self.built else ():
            optimizer.finalize_variable_values(own)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        chosen = _config.deserialize(config["optimizer_map"], custom_objects)
        return cls(**{**config, "optimizer_map": chosen})


def _plain(optimizer: Any, what: str) -> Optimizer:
    """The optimizer, if it is one that does updates itself."""
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"The optimizer of {what} is no Optimizer. Received: {optimizer!r}")
    if isinstance(optimizer, (LossScaleOptimizer, MultiOptimizer)):
        raise ValueError(
            f"The optimizer of {what} is a {type(optimizer).__name__}, which cannot be inside a "
            "MultiOptimizer. Wrap the MultiOptimizer instead."
        )
    return optimizer
