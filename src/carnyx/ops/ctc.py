"""Connectionist temporal classification (Graves et al. 2006): the loss, and two ways to decode.

Letters: B batch, T frames, C classes (one of them the blank), S labels of a target. A path gives
each frame a class; it reads as a target when repeats are merged and then blanks left out. All is in
float32 and in logarithms.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from carnyx.ops.table import choose, op, operations, tensor

# What a step that no path may take costs, instead of infinity: so a target that does not fit into
# its frames has a loss of about 1e5 and a finite gradient, and all others are exact below that.
IMPOSSIBLE = -1e5


def _checked(name: str, **given: tuple[Any, str, str]) -> list[Any]:
    """Arrays, each given with the letters of its axes; axes of one letter have one size."""
    arrays: list[Any] = []
    sizes: dict[str, int] = {}
    for argument, (value, axes, meaning) in given.items():
        array = jnp.asarray(tensor(value))
        wanted = [sizes.get(axis, "any") for axis in axes]
        fits = (n in ("any", m) for n, m in zip(wanted, array.shape, strict=False))
        if array.ndim != len(axes) or not all(fits):
            raise ValueError(
                f"{name}: {argument} must be {meaning} [{', '.join(axes)}], "
                f"shape {wanted}. Received: shape {array.shape}".replace("'", "")
            )
        sizes.update(zip(axes, array.shape, strict=True))
        arrays.append(array)
    return arrays


def _log_probabilities(logits: Any) -> Any:
    return jax.nn.log_softmax(logits.astype("float32"), axis=-1)


@op
def ctc_loss(
    target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0
) -> Any:
    """-log of the probability that the frames read as the target: [B, S], [B, T, C] -> [B].

    With l = (blank, y1, blank, ..., yS, blank), a[s] sums the paths up to a frame that end in l[s]:
    a'[s] = p[l[s]] (a[s] + a[s - 1] + a[s - 2]), the last one if l[s] is no blank and not l[s - 2];
    the result is -log(a[2S] + a[2S - 1]) after the last frame (equations 6 to 8).

    Args:
        target: labels; beyond `target_length` [B] they do not count.
        output: logits; beyond `output_length` [B] they do not count.
        mask_index: the blank.

    A target that does not fit into its frames, repeats apart, gives about 1e5.

    >>> logits = jnp.log(jnp.array([[[0.1, 0.9], [0.2, 0.8]]]))  # 0.9 0.8 + 0.1 0.8 + 0.9 0.2
    >>> round(float(jnp.exp(-ctc_loss([[1]], logits, [1], [2])[0])), 4)
    0.98
    """
    logits, *whole = _checked(
        "ops.ctc_loss",
        output=(output, "BTC", "logits"),
        target=(target, "BS", "labels"),
        target_length=(target_length, "B", "the targets' lengths"),
        output_length=(output_length, "B", "the outputs' lengths"),
    )
    target, target_length, output_length = (a.astype("int32") for a in whole)
    batch, size = target.shape
    labels = jnp.full((batch, 2 * size + 1), mask_index, target.dtype)
    labels = labels.at[:, 1::2].set(target)
    skips = (labels[:, 2:] != mask_index) & (labels[:, 2:] != labels[:, :-2])
    cost = jnp.full(labels.shape, IMPOSSIBLE).at[:, 2:].set(jnp.where(skips, 0.0, IMPOSSIBLE))
    logp = jnp.take_along_axis(_log_probabilities(logits), labels[:, None], axis=-1)
    frames = jnp.arange(logits.shape[1])[:, None] < output_length

    def shifted(a: Any, by: int) -> Any:
        return jnp.pad(a, ((0, 0), (by, 0)), constant_values=IMPOSSIBLE)[:, : a.shape[1]]

    def frame(a: Any, item: Any) -> Any:
        p, counts = item
        come = jnp.logaddexp(jnp.logaddexp(a, shifted(a, 1)), shifted(a, 2) + cost)
        return jnp.where(counts[:, None], come + p, a), None

    start = jnp.where(jnp.arange(labels.shape[1]) == 0, 0.0, IMPOSSIBLE)
    start = jnp.broadcast_to(start, labels.shape)
    a, _ = lax.scan(frame, start, (jnp.swapaxes(logp, 0, 1), frames))
    places = 2 * target_length[:, None] - jnp.array([0, 1])
    ends = jnp.take_along_axis(a, jnp.maximum(places, 0), axis=1)
    blank, label = ends[:, 0], jnp.where(target_length > 0, ends[:, 1], IMPOSSIBLE)
    return -jnp.where(target_length > 0, jnp.logaddexp(blank, label), blank)


@op
def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int | None = 0,
) -> Any:
    """Logits [B, T, C] read as labels: (labels [P, B, T] padded with -1, scores [B, P]).

    "greedy" reads the likeliest path (P = 1): its score is minus the sum of its logits.
    "beam_search" looks for the P likeliest label sequences, all paths of each summed; the score is
    the log-probability. In every frame it keeps the `beam_width` likeliest prefixes.

    Args:
        sequence_lengths: how many frames count [B].
        top_paths: P, up to `beam_width`, of a beam search.
        merge_repeated: whether a greedy reading merges repeats; a beam search always does.
        mask_index: the blank; None for the last class.

    Beam search: Graves (2012), section 7.2, with prefixes that meet merged.

    >>> logits = jnp.log(jnp.array([[[0.6, 0.4], [0.6, 0.4]]]))
    >>> ctc_decode(logits, [2])[0].tolist()  # two blanks: 0.36
    [[[-1, -1]]]
    >>> labels, scores = ctc_decode(logits, [2], "beam_search")  # [1]: 0.16 + 0.24 + 0.24
    >>> labels.tolist(), round(float(jnp.exp(scores[0, 0])), 4)
    ([[[1, -1]]], 0.64)
    """
    choose("ops.ctc_decode", "strategy", strategy, ("greedy", "beam_search"))
    if not 1 <= top_paths <= beam_width:
        raise ValueError(
            "ops.ctc_decode: top_paths must be in [1, beam_width]. "
            f"Received: top_paths={top_paths}, beam_width={beam_width}"
        )
    logits, lengths = _checked(
        "ops.ctc_decode",
        inputs=(inputs, "BTC", "logits"),
        sequence_lengths=(sequence_lengths, "B", "the inputs' lengths"),
    )
    blank = logits.shape[-1] - 1 if mask_index is None else mask_index
    if strategy == "greedy":
        return _greedy(logits.astype("float32"), lengths, merge_repeated, blank)
    if not 0 <= blank < logits.shape[-1]:
        raise ValueError(
            f"ops.ctc_decode: mask_index must be one of the {logits.shape[-1]} classes, in "
            f"[0, {logits.shape[-1] - 1}]. Received: {mask_index}"
        )
    search = jax.vmap(lambda p, n: _beam_search(p, n, beam_width, top_paths, blank))
    labels, scores = search(_log_probabilities(logits), lengths)
    return jnp.swapaxes(labels, 0, 1), scores


def _greedy(logits: Any, lengths: Any, merge: bool, blank: int) -> tuple[Any, Any]:
    best, frames = jnp.argmax(logits, axis=-1), logits.shape[1]
    kept = (jnp.arange(frames) < lengths[:, None]) & (best != blank)
    score = jnp.where(jnp.arange(frames) < lengths[:, None], jnp.max(logits, axis=-1), 0)
    if merge:
        kept &= jnp.pad(best[:, 1:] != best[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    place = jnp.where(kept, jnp.cumsum(kept, axis=1) - 1, frames)  # outside: dropped
    rows = jnp.arange(len(best))[:, None]
    labels = jnp.full(best.shape, -1, "int32").at[rows, place].set(best.astype("int32"))
    return labels[None], -jnp.sum(score, axis=1)[:, None]


# Prefixes are told apart by their length and two polynomials modulo 2^32 with these multipliers.
MULTIPLIERS = (0x9E3779B1, 0x85EBCA77)


def _beam_search(logp: Any, length: Any, width: int, top: int, blank: int) -> tuple[Any, Any]:
    """The `top` likeliest sequences of one sample, log-probabilities [T, C]: [top, T], [top]."""
    frames = jnp.arange(logp.shape[0])
    none = jnp.full((width,), -jnp.inf)
    start = {
        "labels": jnp.full((width, len(frames)), -1, "int32"),
        "size": jnp.zeros((width,), "int32"),
        "key": jnp.zeros((width, 2), "uint32"),
        "parent": jnp.zeros((width, 2), "uint32"),  # the key without the last label
        "last": jnp.full((width,), -1, "int32"),
        "blank": none.at[0].set(0.0),  # log-probability of its paths that end in a blank
        "label": none,  # and of those that end in its last label
    }

    def frame(beam: Any, item: Any) -> Any:
        t, p = item
        after = _chosen(beam, p, blank, *_continued(beam, p, blank))
        return jax.tree.map(lambda a, b: jnp.where(t < length, a, b), after, beam), None

    beam, _ = lax.scan(frame, start, (frames, logp))
    scores, best = lax.top_k(jnp.logaddexp(beam["blank"], beam["label"]), top)
    return jnp.where((scores > -jnp.inf)[:, None], beam["labels"][best], -1), scores


def _continued(beam: Any, p: Any, blank: int) -> tuple[Any, Any]:
    """What a frame makes of W prefixes: paths that end in the same label again [W], and those that
    end in one label more [W, C]. Where that is another prefix of the beam, the paths are its."""
    both = jnp.logaddexp(beam["blank"], beam["label"])
    again = beam["last"][:, None] == jnp.arange(len(p))
    longer = jnp.where(again, beam["blank"][:, None], both[:, None]) + p
    longer = longer.at[:, blank].set(-jnp.inf)
    same = jnp.all(beam["parent"][:, None] == beam["key"], axis=-1)  # [prefix, its parent]
    same &= (beam["size"][:, None] == beam["size"] + 1) & (both > -jnp.inf)[:, None]
    met = jnp.where(same, longer[:, beam["last"]].T, -jnp.inf)
    stay = jnp.logaddexp(beam["label"] + p[beam["last"]], jax.nn.logsumexp(met, axis=1))
    taken = jnp.any(same[..., None] & again[:, None], axis=0)
    return stay, jnp.where(taken, -jnp.inf, longer)


def _chosen(beam: Any, p: Any, blank: int, stay: Any, longer: Any) -> Any:
    """The likeliest of the prefixes as they are and with one label more."""
    width, classes = longer.shape
    rest = jnp.logaddexp(beam["blank"], beam["label"]) + p[blank]
    total = jnp.concatenate([jnp.logaddexp(rest, stay), longer.ravel()])
    _, chosen = lax.top_k(total, width)
    grown = chosen >= width
    source = jnp.where(grown, (chosen - width) // classes, chosen)
    last = jnp.where(grown, (chosen - width) % classes, beam["last"][source])
    old = {name: value[source] for name, value in beam.items()}
    place = (jnp.arange(old["labels"].shape[1]) == old["size"][:, None]) & grown[:, None]
    key = old["key"] * jnp.array(MULTIPLIERS, "uint32") + (last[:, None] + 1).astype("uint32")
    return {
        "labels": jnp.where(place, last[:, None], old["labels"]),
        "size": old["size"] + grown,
        "key": jnp.where(grown[:, None], key, old["key"]),
        "parent": jnp.where(grown[:, None], old["key"], old["parent"]),
        "last": last,
        "blank": jnp.where(grown, -jnp.inf, rest[source]),
        "label": jnp.where(grown, longer[source, last], stay[source]),
    }


__all__ = operations(globals())  # noqa: PLE0605
