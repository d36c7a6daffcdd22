"""Config: named values of a program, which can be frozen and written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

from carnyx.core.errors import nearest


class Config(MutableMapping):
    """A dict whose entries are attributes too; `freeze()` protects it from changes.

    >>> config = Config(seed=1)
    >>> config.rate = 0.1
    >>> config["rate"], config.to_json()
    (0.1, '{"seed": 1, "rate": 0.1}')
    >>> config.freeze()
    >>> config.seed = 2
    Traceback (most recent call last):
    ValueError: This Config is frozen: 'seed' cannot be changed. Call unfreeze() first.
    """

    def __init__(self, **kwargs: Any) -> None:
        vars(self).update(_values=dict(kwargs), _frozen=False)

    @property
    def frozen(self) -> bool:
        """Whether changes are refused."""
        return vars(self)["_frozen"]

    def freeze(self) -> None:
        """Refuses changes from now on."""
        vars(self)["_frozen"] = True

    def unfreeze(self) -> None:
        """Allows changes again."""
        vars(self)["_frozen"] = False

    def as_dict(self) -> dict[str, Any]:
        """The values as a plain dict."""
        return dict(vars(self)["_values"])

    def to_json(self) -> str:
        """The values as JSON."""
        return json.dumps(self.as_dict())

    def _check(self, name: str) -> None:
        if self.frozen:
            raise ValueError(
                f"This Config is frozen: {name!r} cannot be changed. Call unfreeze() first."
            )

    def __getitem__(self, name: str) -> Any:
        return vars(self)["_values"][name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._check(name)
        vars(self)["_values"][name] = value

    def __delitem__(self, name: str) -> None:
        self._check(name)
        del vars(self)["_values"][name]

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self)["_values"])

    def __len__(self) -> int:
        return len(vars(self)["_values"])

    def __getattr__(self, name: str) -> Any:
        values = vars(self).get("_values", {})
        if name not in values:
            raise AttributeError(f"This Config has no {name!r}.{nearest(name, values)}")
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"This Config has no {name!r}.{nearest(name, self)}")
        del self[name]

    def __repr__(self) -> str:
        return f"<Config {self.as_dict()}>"
