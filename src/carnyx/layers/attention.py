"""Attention layers: multi-head with projections, and the plain ones of one head.

The arithmetic is `ops/attention.py`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax.numpy as jnp

from carnyx import activations, random
from carnyx.core.fields import declared, tail
from carnyx.core.layer import Layer
from carnyx.layers import arguments
from carnyx.layers.arguments import Fraction, KernelOptions, Several, Whole
from carnyx.layers.dense import EinsumDense
from carnyx.layers.dropout import Dropout
from carnyx.ops import attention
from carnyx.random import SeedGenerator

_OPTIONS = [f"{weight}_{kind}" for weight in ("kernel", "bias") for kind in arguments.KINDS]


@tail
class HeadOptions:
    """Fields of both multi-head layers, the last ones."""

    use_gate: bool = False
    seed: Any = None


class ProjectedAttention(arguments.Declared, Layer):
    """What the multi-head layers share: projections, masks, dropout and the gate."""

    about = """
    head = softmax(q W_q (k W_k)' / sqrt(D)) v W_v; the result is a projection of all heads.
    Weights: query [C, K, D], key [C, G, D], value [C, G, V], attention_output [K, V, C], each with
    its bias, for K heads of queries of size D, and G of keys and of values of size V.

    Call arguments: query [B, T, C], value and key [B, S, C] (key is value by default);
    query_mask, value_mask, key_mask bool [B, length]; attention_mask bool [B, T, S] or
    [B, K, T, S], True where attention may go; use_causal_mask: no source after its target;
    return_attention_scores: also the weights [B, K, T, S].
"""
    supports_masking = True
    unsaved = ("flash_attention",)
    dropout: float
    use_bias: bool
    use_gate: bool
    sliding_window: int | None
    flash_attention: bool | None
    seed: Any
    heads: tuple[int, int]  # of queries, of keys and values
    sizes: tuple[int, int]  # of a head of queries and keys, of values
    attention_axes: Any = (1,)
    output_shape: Any = None

    def _set_up(self) -> None:
        if self.flash_attention and self.dropout:
            wanted = "0 with flash_attention=True, which never has all weights at once"
            raise arguments.refuse(self, "dropout", self.dropout, wanted)
        self._penalty, self.activity_regularizer = self.activity_regularizer, None
        self._dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy, seed=self.seed)

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if name == "activity_regularizer":  # the projections' own, as in Keras
            return self._penalty
        return super()._config_value(name, recorded, owner)

    def _projection(self, name: str, equation: str, shape: Any, sizes: Any) -> EinsumDense:
        layer = EinsumDense(
            equation,
            sizes,
            bias_axes=equation.rpartition("...")[2] if self.use_bias else None,
            activity_regularizer=self._penalty,
            dtype=self.dtype_policy,
            name=name,
            **{option: getattr(self, option) for option in _OPTIONS},
        )
        layer.supports_masking = True  # masks are this layer's business
        layer.build(shape)
        return layer

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError(
                f"{type(self).__name__} '{self.name}': value and key have the same shape but for "
                f"the last axis. Received value {value_shape} and key {key_shape}."
            )
        if self.attention_axes is None:
            self.attention_axes = tuple(range(1, len(query_shape) - 1))
        (many, few), (size, value_size) = self.heads, self.sizes
        spread, heads = "...c,cyz->...yz", (many, value_size)
        self.query_dense = self._projection("query", spread, query_shape, (many, size))
        self.key_dense = self._projection("key", spread, key_shape, (few, size))
        if self.use_gate:
            self.gate_dense = self._projection("gate", spread, query_shape, heads)
        self.value_dense = self._projection("value", spread, value_shape, (few, value_size))
        out = self.output_shape or (query_shape[-1],)
        gather = "...yz,yz{0}->...{0}".format("lmnopqrs"[: len(out)])
        shape = (*query_shape[:-1], *heads)
        self.output_dense = self._projection("attention_output", gather, shape, out)

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        if self.flash_attention and return_attention_scores:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': return_attention_scores=True needs all "
                "weights at once, which flash_attention=True never has. Leave one of them out."
            )
        key = value if key is None else key
        q, k, v = self.query_dense(query), self.key_dense(key), self.value_dense(value)
        dropped = functools.partial(self._dropout_layer, training=True)
        out, weights = self._attend(
            *(q, k, v, (query_mask, value_mask, key_mask), attention_mask),
            attention.Form(use_causal_mask, self.sliding_window),
            dropout=dropped if training and self.dropout else None,
            scores=return_attention_scores,
            flash=self.flash_attention,
        )
        if self.use_gate:
            out = out * activations.sigmoid(self.gate_dense(query))
        out = self.output_dense(out)
        return (out, weights) if return_attention_scores else out

    def _attend(
        self, q: Any, k: Any, v: Any, masks: Any, given: Any, form: Any, **options: Any
    ) -> tuple[Any, Any]:
        """Attention over `attention_axes`, every other axis a batch axis.

        `masks` are of targets, sources and sources, `given` is [B, (others,) (K,) *T, *S].
        """
        rank = q.ndim - 2
        axes = tuple(a % (rank + 1) for a in self.attention_axes)
        others = [a for a in range(1, rank) if a not in axes]
        order = [0, *others, *axes, rank, rank + 1]
        batch = [q.shape[a] for a in (0, *others)]
        times = [[x.shape[a] for a in axes] for x in (q, k)]

        def flat(x: Any) -> Any:
            x = x.transpose(order)
            return x.reshape(math.prod(x.shape[: len(batch)]), -1, *x.shape[-2:])

        found = [] if given is None else [self._flat_mask(jnp.asarray(given, bool), batch, times)]
        for mask, place in zip(masks, (2, 3, 3), strict=True):  # in [B and others, K, T, S]
            if mask is not None:
                mask = flat(jnp.asarray(mask, bool)[..., None, None])
                found.append(jnp.moveaxis(mask, 1, place))
        out, weights = attention.attend(flat(q), flat(k), flat(v), form, found, **options)
        out = out.reshape(*batch, *times[0], *out.shape[-2:])
        out = out.transpose([order.index(axis) for axis in range(rank + 2)])
        if weights is not None:
            weights = weights.reshape(*batch, weights.shape[1], *times[0], *times[1])
        return out, weights

    def _flat_mask(self, mask: Any, batch: list[int], times: Any) -> Any:
        """A mask [B, (others,) (K,) *T, *S] as [B and others, 1 or K, T, S]."""
        count, (targets, sources) = len(batch), times
        while mask.ndim < count + 1 + 2 * len(targets):
            mask = jnp.expand_dims(mask, -2 * len(targets) - 1)
        if mask.ndim == 4:
            return mask
        heads = mask.shape[count]
        mask = jnp.broadcast_to(mask, (*batch, heads, *targets, *sources))
        return mask.reshape(math.prod(batch), heads, math.prod(targets), math.prod(sources))


@declared
class MultiHeadAttention(KernelOptions, HeadOptions, ProjectedAttention):
    """Attention with K heads, each on projections of its own: [B, T, C] -> [B, T, C].

    Args:
        num_heads: K = G, from 1.
        key_dim, value_dim: D and V, from 1; V is D by default.
        dropout: fraction in [0, 1] of weights dropped in training.
        output_shape: size or sizes of the last axis of the result; the query's by default.
        attention_axes: the axes that attention is over; all but batch and features by default.
        [shared]

    Raises:
        ValueError: sizes below 1; value and key of different lengths.

    Vaswani et al. (2017).

    >>> import numpy as np
    >>> x = np.ones((2, 5, 8))
    >>> MultiHeadAttention(num_heads=2, key_dim=4)(x, x, use_causal_mask=True).shape
    (2, 5, 8)
    """

    num_heads: Whole
    key_dim: Whole
    value_dim: Whole | None = None
    dropout: Fraction = 0.0
    use_bias: bool = True
    output_shape: Several | None = None
    attention_axes: Several | None = None
    sliding_window: Whole | None = None
    flash_attention: bool | None = None

    def _set_up(self) -> None:
        super()._set_up()
        self.value_dim = self.value_dim or self.key_dim
        self.heads = self.num_heads, self.num_heads
        self.sizes = self.key_dim, self.value_dim


@declared
class GroupQueryAttention(KernelOptions, HeadOptions, ProjectedAttention):
    """Attention whose query heads share heads of keys and values: [B, T, C] -> [B, T, C].

    Args:
        head_dim: D = V, from 1.
        num_query_heads: K, from 1.
        num_key_value_heads: G, a divisor of K; 1 is multi-query attention.
        dropout: fraction in [0, 1] of weights dropped in training.
        [shared]

    Raises:
        ValueError: sizes below 1; K no multiple of the key heads.

    Ainslie et al. (2023).

    >>> import numpy as np
    >>> x = np.ones((2, 5, 8))
    >>> GroupQueryAttention(head_dim=4, num_query_heads=4, num_key_value_heads=2)(x, x).shape
    (2, 5, 8)
    """

    head_dim: Whole
    num_query_heads: Whole
    num_key_value_heads: Whole
    dropout: Fraction = 0.0
    use_bias: bool = True
    sliding_window: Whole | None = None
    flash_attention: bool | None = None

    def _set_up(self) -> None:
        super()._set_up()
        self.heads = many, few = self.num_query_heads, self.num_key_value_heads
        self.sizes = self.head_dim, self.head_dim
        if many % few:
            wanted = f"divisible by num_key_value_heads={few}"
            raise arguments.refuse(self, "num_query_heads", many, wanted)


class PlainAttention(arguments.Declared, Layer):
    """What Attention and AdditiveAttention share: everything but the scores."""

    supports_masking = True
    use_scale: bool
    dropout: float
    scale: Any = None

    def __init__(self, use_scale: bool, dropout: Fraction, seed: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        arguments.keep_given(self, locals())
        self.seed_generator = SeedGenerator(seed) if self.dropout > 0 else None

    def scores(self, query: Any, key: Any) -> Any:
        """How well each query and key go together, [B, T, S]."""
        raise NotImplementedError

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            raise ValueError("expected a list [query, value] or [query, value, key] as inputs")
        query, value, key = (*inputs, inputs[1])[:3]
        query_mask, value_mask = (None, None) if mask is None else mask[:2]
        scores = self.scores(query, key)
        allowed = None if value_mask is None else jnp.asarray(value_mask, bool)[:, None, :]
        if use_causal_mask:
            causal = jnp.tri(*scores.shape[-2:], dtype=bool)
            allowed = causal if allowed is None else allowed & causal
        if allowed is not None:
            far = 65504.0 if scores.dtype == jnp.float16 else 1e9  # the greatest half
            scores = jnp.where(allowed, scores, scores - jnp.asarray(far, scores.dtype))
        weights = activations.softmax(scores)
        if training and self.seed_generator is not None:
            weights = random.dropout(weights, self.dropout, seed=self.seed_generator)
        out = weights @ value
        if query_mask is not None:
            out = jnp.where(jnp.asarray(query_mask, bool)[..., None], out, 0)
        return (out, weights) if return_attention_scores else out

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None if previous_mask is None else previous_mask[0]


@declared
class Attention(PlainAttention):
    """softmax(scores) value: query [B, T, C], value [B, S, V], key [B, S, C] -> [B, T, V].

    Scores are query key' (Luong et al. 2015), or the sum over C of tanh(query + key).

    Args:
        use_scale: whether the scores have a factor that is learnt.
        score_mode: "dot" or "concat".
        dropout: fraction in [0, 1] of weights dropped in training.
        [shared]

    >>> import numpy as np
    >>> Attention()([np.ones((2, 3, 4)), np.ones((2, 5, 4))]).shape
    (2, 3, 4)
    """

    use_scale: bool = False
    score_mode: str = "dot"
    dropout: Fraction = 0.0
    seed: Any = None

    def _set_up(self) -> None:
        super()._set_up()
        self.score_mode = arguments.choice(self, "score_mode", self.score_mode, ("dot", "concat"))

    def build(self, input_shape: Any) -> None:
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def scores(self, query: Any, key: Any) -> Any:
        scale = 1 if self.scale is None else self.scale.value
        if self.score_mode == "dot":
            return query @ jnp.swapaxes(key, -2, -1) * scale
        pairs = jnp.tanh(scale * (query[..., :, None, :] + key[..., None, :, :]))
        return self.concat_score_weight.value * pairs.sum(-1)


@declared
class AdditiveAttention(PlainAttention):
    """softmax(scores) value with scores = sum over C of scale tanh(query + key).

    query [B, T, C], value [B, S, V], key [B, S, C] -> [B, T, V]. Bahdanau et al. (2015).

    Args:
        use_scale: whether each of the C terms has a factor that is learnt.
        dropout: fraction in [0, 1] of weights dropped in training.

    >>> import numpy as np
    >>> AdditiveAttention()([np.ones((2, 3, 4)), np.ones((2, 5, 4))]).shape
    (2, 3, 4)
    """

    use_scale: bool = True
    dropout: Fraction = 0.0

    def build(self, input_shape: Any) -> None:
        if self.use_scale:
            self.scale = self.add_weight((input_shape[0][-1],), "glorot_uniform", name="scale")

    def scores(self, query: Any, key: Any) -> Any:
        scale = 1 if self.scale is None else self.scale.value
        return (scale * jnp.tanh(query[..., :, None, :] + key[..., None, :, :])).sum(-1)


__all__ = """
    AdditiveAttention Attention GroupQueryAttention MultiHeadAttention
""".split()
