"""Losses of sequences whose places in time are not known: CTC.

The recursion is `ops/ctc.py`; weights, masks and reduction are in `base.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from carnyx.losses.base import LossFunctionWrapper
from carnyx.losses.targets import expects
from carnyx.ops.ctc import ctc_loss


@expects("sequences")
def ctc(y_true: Any, y_pred: Any) -> Any:
    """-log of the probability that the frames read as the labels: [B, S], [B, T, C] -> [B].

    A path gives every frame a class; it reads as the labels when repeats are merged and then the
    blank, class 0, is left out.

    Args:
        y_true: integer labels from 1, 0 behind those of shorter rows.
        y_pred: logits of all T frames.

    Labels that do not fit into T frames, repeats apart, give about 1e5. Graves et al. (2006).

    >>> logits = jnp.log(jnp.array([[[0.1, 0.9], [0.2, 0.8]]]))  # 0.9 0.8 + 0.1 0.8 + 0.9 0.2
    >>> round(float(jnp.exp(-ctc([[1]], logits)[0])), 4)
    0.98
    """
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    if y_pred.ndim != 3 or y_true.ndim != 2:
        raise ValueError(
            "ctc: y_true must be labels [B, S] and y_pred logits [B, T, C]. Received: shapes "
            f"{y_true.shape} and {y_pred.shape}"
        )
    frames = jnp.full((y_pred.shape[0],), y_pred.shape[1], "int32")
    return ctc_loss(y_true, y_pred, jnp.sum(y_true != 0, axis=-1), frames)


class CTC(LossFunctionWrapper, function=ctc):
    """Connectionist temporal classification (Graves et al. 2006)."""


__all__ = "CTC ctc".split()
