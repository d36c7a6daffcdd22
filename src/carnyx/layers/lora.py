"""Low-rank adaptation: the base of layers whose one great weight may stay as it is while a product
of two small ones is learnt in addition. The layers are in `dense.py` and `embedding.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from carnyx.core.fields import tail
from carnyx.core.layer import Layer
from carnyx.core.variable import Variable
from carnyx.layers import arguments
from carnyx.layers.arguments import Number, Whole


@tail
class Adaptable(arguments.FileOptions, Layer):
    """W + (alpha / r) A B in the place of W [..., M], with A [..., r] and B [r, M] (Hu et al. 2021,
    equation 3).

    A subclass names its weight in `lora_weight`, calls `_start_lora` at the end of `build`, and
    adds `_scale()` times what A B makes to what W makes, which costs less than `_merged()` does.
    """

    lora_weight = "kernel"
    lora_enabled = False
    lora_rank: Whole | None = None
    lora_alpha: Number | None = None

    def _set_up(self) -> None:
        if self.lora_rank is not None:
            self._keep_lora(self.lora_rank, self.lora_alpha)

    def _keep_lora(self, rank: int, alpha: float | None) -> None:
        name = f"{self.lora_weight}_constraint"
        if getattr(self, name) is not None:
            raise arguments.refuse(
                self, name, getattr(self, name), "None for LoRA, which only adds to the weight"
            )
        self.lora_rank, self.lora_alpha = rank, rank if alpha is None else alpha

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        if name in ("lora_rank", "lora_alpha"):  # in Keras's files only when there is a rank
            return self.lora_rank is not None
        return super()._in_config(name, value, default, owner)

    def _start_lora(self) -> None:
        if self.lora_rank is not None:
            self._add_lora("he_uniform", "zeros")

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freezes the weight and adds A and B; to train these, compile the model anew.

        Args:
            rank: r, from 1.
            lora_alpha: the factor of A B is lora_alpha / rank; None for 1.
            a_initializer, b_initializer: how A and B start; with B = 0 nothing changes at first.

        Raises:
            ValueError: before `build`; when LoRA is on; when the weight has a constraint.
        """
        where = f"{type(self).__name__} '{self.name}'"
        if not self.built:
            raise ValueError(f"{where}: enable_lora() needs a built layer. Call it on data first.")
        if self.lora_enabled:
            raise ValueError(f"{where}: LoRA is on already. merge_lora() ends it.")
        if lora_alpha is not None:
            arguments.number(self, "lora_alpha", lora_alpha)
        self._keep_lora(arguments.whole(self, "rank", rank), lora_alpha)
        self._add_lora(a_initializer, b_initializer)

    def _add_lora(self, a_initializer: Any, b_initializer: Any) -> None:
        weight = self._adapted()
        shapes = {
            "a": (*weight.shape[:-1], self.lora_rank),
            "b": (self.lora_rank, weight.shape[-1]),
        }
        for side, start in (("a", a_initializer), ("b", b_initializer)):
            name = f"lora_{self.lora_weight}_{side}"
            made = self.add_weight(
                shapes[side], start, "float32", regularizer=weight.regularizer, name=name
            )
            made.path = f"{weight.path.rpartition('/')[0]}/{name}"
            setattr(self, name, made)
        weight.trainable = False
        self.lora_enabled = True

    def merge_lora(self) -> None:
        """Adds (alpha / r) A B to the weight, which is trainable again, and drops A and B.

        Keras merges in saved files only. Compile the model anew.
        """
        if not self.lora_enabled:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': merge_lora() has nothing to merge, as LoRA "
                "is off."
            )
        weight, (a, b) = self._adapted(), self._sides()
        weight.assign(self._merged())
        b.assign(jnp.zeros_like(b.value))  # steps compiled with A and B stay right
        weight.trainable = self._trainable and weight._created_trainable
        self._weights = [v for v in self._weights if v is not a and v is not b]
        delattr(self, f"lora_{self.lora_weight}_a")
        delattr(self, f"lora_{self.lora_weight}_b")
        self.lora_enabled, self.lora_rank, self.lora_alpha = False, None, None

    def _adapted(self) -> Variable:
        return getattr(self, self.lora_weight)

    def _sides(self) -> tuple[Variable, Variable]:
        """A and B."""
        a, b = (getattr(self, f"lora_{self.lora_weight}_{side}") for side in "ab")
        return a, b

    def _scale(self) -> float:
        assert self.lora_rank is not None and self.lora_alpha is not None
        return self.lora_alpha / self.lora_rank

    def _merged(self) -> Any:
        """W + (alpha / r) A B, or W."""
        weight = self._adapted().value
        if not self.lora_enabled:
            return weight
        a, b = self._sides()
        return (weight + self._scale() * jnp.matmul(a.value, b.value)).astype(weight.dtype)

    # ---- files hold the merged weight, as Keras's do

    def _own_weights(self) -> list[Variable]:
        own = super()._own_weights()
        sides = self._sides() if self.lora_enabled else ()
        return [v for v in own if all(v is not side for side in sides)]

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        if self.lora_enabled:
            place = [v is self._adapted() for v in self._own_weights()].index(True)
            store[str(place)] = np.asarray(self._merged())

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        if self.lora_enabled:  # B alone becomes zero: were both (as in Keras), neither would move
            side = self._sides()[1]
            side.assign(jnp.zeros_like(side.value))
