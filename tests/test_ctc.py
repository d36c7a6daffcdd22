"""CTC against every path one by one, finite differences, and Keras; its decoders likewise."""

import functools
import itertools
from collections import defaultdict

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import carnyx
from carnyx import ops

# Halves the time of compiling, which is the tests'.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 6, 4)).astype("float32") * 2
TARGET = np.array([[1, 2, 3], [2, 2, 0], [3, 1, 1], [1, 0, 0], [1, 1, 1]])
SIZE, FRAMES = np.array([3, 2, 3, 0, 3]), np.array([6, 3, 5, 4, 4])  # the last does not fit


def collapsed(path, blank):
    return tuple(c for c, _ in itertools.groupby(path) if c != blank)


def readings(logits, blank):
    """The probability of every sequence that the frames [T, C] may read as."""
    x = logits.astype("float64")
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    found = defaultdict(float)
    for path in itertools.product(range(x.shape[1]), repeat=len(x)):
        found[collapsed(path, blank)] += np.prod(p[np.arange(len(x)), path])
    return found


@jax.jit
def loss(logits):
    return ops.ctc_loss(TARGET, logits, SIZE, FRAMES)


BEAM = quick(ops.ctc_decode, static_argnums=(2, 3, 4, 5, 6))


@pytest.mark.parametrize("blank", [0, 3])
def test_loss_is_the_sum_over_all_paths(blank):
    labels = np.where(blank == TARGET, 0, TARGET) if blank else TARGET
    got = quick(lambda x: ops.ctc_loss(labels, x, SIZE, FRAMES, mask_index=blank))(LOGITS)
    for n in range(4):
        wanted = readings(LOGITS[n, : FRAMES[n]], blank)[tuple(labels[n, : SIZE[n]].tolist())]
        np.testing.assert_allclose(got[n], -np.log(wanted), rtol=1e-5)


def test_gradient_is_the_finite_difference():
    slope = quick(jax.grad(lambda x: loss(x)[:4].sum()))(LOGITS)
    for _ in range(3):
        way = RNG.normal(size=LOGITS.shape)
        ends = [float(loss((LOGITS + s * way).astype("float32"))[:4].sum()) for s in (1e-2, -1e-2)]
        np.testing.assert_allclose((slope * way).sum(), (ends[0] - ends[1]) / 2e-2, rtol=2e-3)
    assert not np.asarray(slope[1, 3:]).any()  # frames beyond the length


def test_what_does_not_fit_costs_1e5_as_in_keras():
    theirs = quick(lambda x: keras.ops.ctc_loss(TARGET, x, SIZE, FRAMES))(LOGITS)
    np.testing.assert_allclose(loss(LOGITS)[:4], theirs[:4], rtol=1e-6)
    np.testing.assert_allclose(loss(LOGITS)[4], theirs[4], rtol=1e-5)  # digits left beside 1e5
    np.testing.assert_allclose(loss(LOGITS)[4], 1e5, rtol=1e-3)
    assert np.isfinite(jax.grad(lambda x: loss(x).sum())(LOGITS)).all()


def test_extremes_and_half_types():
    np.testing.assert_allclose(loss(LOGITS + 500), loss(LOGITS), rtol=1e-4)
    sure = np.where(np.eye(4)[[1, 0, 1]] > 0, 3e4, 0)[None]
    np.testing.assert_allclose(ops.ctc_loss([[1, 1]], sure, [2], [3]), 0, atol=1e-6)
    blanks = ops.ctc_loss(np.zeros((5, 0), int), LOGITS, np.zeros(5), FRAMES)  # S = 0
    np.testing.assert_allclose(blanks[3], loss(LOGITS)[3], rtol=1e-5)
    half = loss(jnp.asarray(LOGITS, "bfloat16"))
    assert half.dtype == jnp.float32
    rounded = LOGITS.astype("bfloat16").astype("float32")
    np.testing.assert_allclose(half, loss(rounded), rtol=1e-6)


def test_every_engine_can_train_with_it():
    model = carnyx.Sequential([carnyx.Input((6, 3)), carnyx.layers.Dense(4)])
    weights, x = model.get_weights(), RNG.normal(size=(4, 6, 3)).astype("float32")
    ends = []
    for engine in ("xla", "numpy"):
        model.set_weights(weights)
        model.compile("sgd", "ctc", engine=engine)
        history = model.fit(x, TARGET[:4], epochs=2, batch_size=4, shuffle=False, verbose=0)
        ends.append([*history.history["loss"], *model.get_weights()])
    assert ends[0][1] < ends[0][0]
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("blank", [0, None])
def test_beam_search_finds_the_likeliest_readings(blank):
    logits = LOGITS[:3, :5, :3]
    lengths = np.array([5, 4, 0])
    place = 2 if blank is None else blank
    labels, scores = BEAM(logits, lengths, "beam_search", 60, 6, True, blank)
    assert labels.shape == (6, 3, 5) and scores.shape == (3, 6) and labels.dtype == jnp.int32
    for n in range(2):
        wanted = sorted(readings(logits[n, : lengths[n]], place).items(), key=lambda r: -r[1])
        got = [tuple(c for c in row if c >= 0) for row in np.asarray(labels[:, n]).tolist()]
        assert got == [sequence for sequence, _ in wanted[:6]]
        np.testing.assert_allclose(np.exp(scores[n]), [p for _, p in wanted[:6]], rtol=1e-4)
    assert np.isneginf(scores[2, 1:]).all() and scores[2, 0] == 0 and (labels[:, 2] == -1).all()


def test_a_narrow_beam_forgets_what_it_dropped():
    """One prefix a frame: [1] with 0.6, then [1] again by 1 or blank, then [1, 1]."""
    logits = np.log(np.array([[[0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]]))
    labels, scores = BEAM(logits, np.array([3]), "beam_search", 1)
    assert labels[0, 0].tolist() == [1, 1, -1]
    np.testing.assert_allclose(np.exp(scores[0, 0]), 0.6 * 0.7 * 0.8, rtol=1e-5)


@pytest.mark.parametrize("merge", [True, False])
def test_greedy_is_a_loop_and_keras(merge):
    lengths = np.array([6, 5, 4, 1, 0])
    labels, scores = BEAM(LOGITS, lengths, "greedy", 100, 1, merge)
    for n, length in enumerate(lengths):
        best = LOGITS[n, :length].argmax(-1).tolist()
        kept = [c for c, _ in itertools.groupby(best)] if merge else best
        kept = [c for c in kept if c]
        assert labels[0, n].tolist() == kept + [-1] * (6 - len(kept))
        np.testing.assert_allclose(scores[n, 0], -LOGITS[n, :length].max(-1).sum(), rtol=1e-5)
    theirs = keras.ops.ctc_decode(LOGITS, lengths, merge_repeated=merge)
    np.testing.assert_array_equal(labels, theirs[0])
    np.testing.assert_allclose(scores, theirs[1], rtol=1e-6)


def test_symbols_and_shapes():
    y = carnyx.Input((6, 4))
    labels, scores = ops.ctc_decode(y, carnyx.Input((), dtype="int32"), "beam_search", 4, 2)
    assert labels.shape == (2, None, 6) and scores.shape == (None, 2)


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: ops.ctc_loss(TARGET[0], LOGITS, SIZE, FRAMES), r"target must be labels \[B, S\]"),
        (lambda: ops.ctc_loss(TARGET, LOGITS[0], SIZE, FRAMES), r"logits \[B, T, C\]"),
        (lambda: ops.ctc_loss(TARGET, LOGITS, SIZE[:2], FRAMES), "target_length"),
        (lambda: ops.ctc_decode(LOGITS, FRAMES, "best"), "'greedy', 'beam_search'"),
        (lambda: ops.ctc_decode(LOGITS, FRAMES, "beam_search", 2, 3), "top_paths"),
        (lambda: ops.ctc_decode(LOGITS, FRAMES, "beam_search", mask_index=4), "mask_index"),
        (lambda: ops.ctc_decode(LOGITS[0], FRAMES), r"logits \[B, T, C\]"),
        (lambda: carnyx.losses.ctc(TARGET[..., None], LOGITS), r"labels \[B, S\]"),
    ],
)
def test_mistakes_are_explained(mistake, says):
    with pytest.raises(ValueError, match=says):
        mistake()


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (np.array([[1, 7]]), "hold the label 7"),
        (np.array([1, 2]), "have 1 axes"),
        (np.array([[1, 0.5]]), "no integer"),
    ],
)
def test_targets_that_do_not_fit_are_refused(y, says):
    with pytest.raises(ValueError, match=says):
        carnyx.losses.CTC().check(y, (None, 6, 4), "fit")
    carnyx.losses.CTC().check(TARGET, (None, 6, 4), "fit")
