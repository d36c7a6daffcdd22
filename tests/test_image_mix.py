"""MixUp, CutMix, policies: Keras on JAX given the same draws, pixels, statistics of draws."""

import jax
import keras
import numpy as np
import pytest
from scipy import stats

from carnyx import layers
from carnyx.core.state import pure
from carnyx.layers.image_mix import symmetric_beta
from tests.cases.image_color import quickly

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 255, (4, 8, 9, 3)).astype("float32")
LABELS = np.eye(4, dtype="float32")
MASKS = RNG.integers(0, 5, (4, 8, 9, 1)).astype("uint8")
BOXES = {"boxes": RNG.uniform(0, 8, (4, 2, 4)), "labels": np.arange(8).reshape(4, 2)}


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 3.0, 40.0])
def test_symmetric_beta(alpha):
    drawn = symmetric_beta(jax.random.PRNGKey(1), alpha, (4000,))
    wanted = stats.beta(alpha, alpha).rvs(4000, random_state=1)
    # to 20 bits, as float32 has no more near 1, where for a small alpha are many; equal
    # distributions fail this in one of a thousand such draws
    found, wanted = (np.round(np.asarray(x).astype(float) * 2**20) for x in (drawn, wanted))
    assert stats.kstest(found, wanted).pvalue > 1e-3


def test_symmetric_beta_of_zero_is_a_coin():
    drawn = np.asarray(symmetric_beta(jax.random.PRNGKey(1), 0.0, (1000,)))
    assert set(drawn.tolist()) == {0.0, 1.0} and abs(drawn.mean() - 0.5) < 0.06


# ---- MixUp


def test_mixup_equals_keras():
    ours, theirs = (home.MixUp(0.8, seed=3) for home in (layers, keras.layers))
    order, weight = (np.asarray(d) for d in ours.get_random_transformation(X))
    assert sorted(order) == [0, 1, 2, 3] and order.tolist() != [0, 1, 2, 3]
    drawn = {"mix_weight": weight, "permutation_order": order}
    for method, value in (("transform_images", X), ("transform_labels", LABELS)):
        found = getattr(ours, method)(value, (order, weight))
        wanted = getattr(theirs, method)(value, dict(drawn), training=True)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)
    # Keras lays the weights along the classes of masks instead of the batch
    masks = ours.transform_segmentation_masks(MASKS, (order, weight))
    w = weight.reshape(4, 1, 1, 1)
    np.testing.assert_allclose(masks, w * MASKS + (1 - w) * MASKS[order], rtol=1e-5)


def test_mixup_of_dicts():
    layer = layers.MixUp(1.0, seed=1)
    data = {"images": X, "labels": LABELS, "bounding_boxes": BOXES}
    out = jax.tree.map(np.asarray, layer(data))
    order = np.where(out["labels"] * (1 - LABELS) > 0)[1]
    if len(order) == 4:  # no image is mixed with itself: the draw is seen in the labels
        weight = np.diag(out["labels"]).reshape(-1, 1, 1, 1)
        np.testing.assert_allclose(out["images"], weight * X + (1 - weight) * X[order], atol=1e-3)
    np.testing.assert_allclose(out["labels"].sum(1), 1, atol=1e-6)
    boxes, ids = out["bounding_boxes"]["boxes"], out["bounding_boxes"]["labels"]
    assert boxes.shape == (4, 4, 4) and ids.shape == (4, 4)
    np.testing.assert_allclose(boxes[:, :2], BOXES["boxes"], rtol=1e-6)
    other = ids[:, 2] // 2  # labels tell which image the second half came from
    np.testing.assert_allclose(boxes[:, 2:], BOXES["boxes"][other], rtol=1e-6)
    np.testing.assert_array_equal(ids[:, 2:], BOXES["labels"][other])
    still = layer(data, training=False)
    np.testing.assert_array_equal(still["images"], X)
    assert still["bounding_boxes"]["boxes"].shape == (4, 2, 4)


def test_mixup_of_real_labels_and_of_one_image():
    out = layers.MixUp(1.0, seed=1)({"images": X[:, :1, :1, :1], "labels": X[:, 0, 0, 0]})
    np.testing.assert_allclose(out["images"].ravel(), out["labels"], rtol=1e-6)
    np.testing.assert_allclose(layers.MixUp()(X[0]), X[0], rtol=1e-6)
    np.testing.assert_array_equal(layers.CutMix()(X[0]), X[0])


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_numbers_of_classes_cannot_be_mixed(name):
    with pytest.raises(ValueError, match=r"one-hot first: carnyx.ops.one_hot"):
        getattr(layers, name)()({"images": X, "labels": np.arange(4)})


# ---- CutMix


def test_cutmix_equals_keras():
    ours, theirs = (home.CutMix(1.0, seed=3) for home in (layers, keras.layers))
    order, weight, patch = (np.asarray(d) for d in ours.get_random_transformation(X))
    assert order.tolist() != [0, 1, 2, 3] and patch.any()
    drawn = {
        "mix_weight": weight.reshape(4, 1, 1, 1),
        "permutation_order": order,
        "batch_masks": patch,
    }
    for method, value in (
        ("transform_images", X),
        ("transform_labels", LABELS),
        ("transform_segmentation_masks", MASKS),
    ):
        found = getattr(ours, method)(value, (order, weight, patch))
        wanted = getattr(theirs, method)(value, dict(drawn), training=True)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_cutmix_patches():
    many = np.zeros((2000, 10, 12, 1), "float32")
    layer = layers.CutMix((1, 1))
    order, weight, patch = quickly(lambda key: layer.draw(many.shape, key), jax.random.PRNGKey(2))
    patch, weight = np.asarray(patch)[..., 0], np.asarray(weight)
    np.testing.assert_allclose(weight, 1 - patch.mean((1, 2)), atol=1e-6)
    rows, columns = (np.asarray(patch.any(axis)) for axis in (2, 1))
    np.testing.assert_array_equal(patch, rows[:, :, None] & columns[:, None])
    for line in (rows, columns):  # in one piece
        assert (np.abs(np.diff(line.astype(int), axis=1)).sum(1) <= 2).all()
    # the sides are those of equal shares, rounded, wherever they are
    share = 1 - (rows.sum(1) / 10) ** 2
    assert stats.kstest(share + RNG.uniform(-0.05, 0.05, 2000), stats.uniform.cdf).statistic < 0.08
    assert abs(columns.sum(1) - rows.sum(1) * 1.2).max() <= 1.1
    small = rows.sum(1) == 4
    first = rows.argmax(1)[small]
    assert set(first.tolist()) == set(range(7))  # everywhere inside
    assert sorted(np.asarray(order)) == list(range(2000))


def test_cutmix_of_dicts():
    layer = layers.CutMix(seed=4)
    data = {"images": X, "labels": LABELS, "segmentation_masks": MASKS}
    out = jax.tree.map(np.asarray, layer(data))
    own = (out["images"] == X).all(-1).mean((1, 2))
    np.testing.assert_allclose(np.diag(out["labels"]), own, atol=1e-6)
    assert out["segmentation_masks"].dtype == np.uint8
    moved = (out["images"] != X).any(-1, keepdims=True)
    np.testing.assert_array_equal(out["segmentation_masks"][~moved], MASKS[~moved])
    with pytest.raises(NotImplementedError, match="bounding boxes"):
        layer({"images": X, "bounding_boxes": BOXES})


def test_cutmix_sides_are_of_beta_shares():
    many = np.zeros((1500, 30, 30, 1), "float32")
    layer = layers.CutMix(0.7)
    patch = quickly(lambda key: layer.draw(many.shape, key)[2], jax.random.PRNGKey(2))
    found = np.asarray(patch)[..., 0].any(2).sum(1)
    share = stats.beta.rvs(*[RNG.uniform(0, 0.7, 1500)] * 2, random_state=1)
    wanted = np.round(30 * np.sqrt(1 - share))
    assert stats.kstest(found, wanted).pvalue > 1e-3


# ---- policies


def test_randaugment_is_its_layers():
    layer = layers.RandAugment(num_ops=3, factor=0.6, bounding_box_format="xyxy", seed=1)
    numbers = np.arange(len(layer.parts))
    assert len(numbers) == 11

    keys = jax.random.split(jax.random.PRNGKey(1), 11)

    def chosen(x, masks):
        """Each number alone, in turn."""
        steps = numbers[:, None], keys[:, None]
        changed = jax.lax.map(
            lambda d: (layer.change_images(x, d), layer.change_masks(masks, d)), steps
        )
        alone = []
        for part, key in zip(layer.parts, keys, strict=True):
            drawn = part.draw(X.shape, key)
            alone.append((part.change_images(x, drawn), part.change_masks(masks, drawn)))
        return changed, alone

    (images, masks), alone = quickly(chosen, X, MASKS)
    for number, (wanted, wanted_masks) in enumerate(alone):
        np.testing.assert_allclose(images[number], wanted, atol=1e-3)
        np.testing.assert_array_equal(masks[number], wanted_masks)
    assert len({np.asarray(image).tobytes() for image in images}) == 11


@pytest.mark.parametrize("name", ["RandAugment", "AugMix"])
def test_policies_have_keras_layers(name):
    kwargs = {"factor": (0.2, 0.7), "value_range": (0, 1), "interpolation": "nearest"}
    ours, theirs = (getattr(home, name)(**kwargs) for home in (layers, keras.layers))
    twins = {type(twin).__name__: twin.get_config() for twin in theirs._layers}
    assert len(ours.parts) == len(twins) == 11
    for part in ours.parts:
        config, wanted = part.get_config(), twins[type(part).__name__]
        assert {**config, "name": "", "dtype": ""} == {**wanted, "name": "", "dtype": ""}
    fewer = getattr(layers, name)() if name == "RandAugment" else layers.AugMix(all_ops=False)
    assert len(fewer.parts) == (11 if name == "RandAugment" else 7)


def test_randaugment_moves_boxes_and_masks_with_the_images():
    images = np.zeros((16, 24, 24, 3), "float32")
    images[:, 9:15, 8:14] = 255
    boxes = {"boxes": np.array([[[8.0, 9, 14, 15]]] * 16), "labels": np.ones((16, 1))}
    layer = layers.RandAugment(num_ops=2, factor=0.2, bounding_box_format="xyxy", seed=3)
    translation = [type(p).__name__ for p in layer.parts].index("RandomTranslation")
    drawn = (np.array([translation, translation]), jax.random.split(jax.random.PRNGKey(0), 2))
    layer.draw = lambda shape, key: drawn
    masks = (images[..., :1] > 0).astype("uint8")
    out = quickly(
        lambda data: layer.apply(data, None, True),
        {
            "images": images,
            "bounding_boxes": boxes,
            "labels": np.arange(16),
            "segmentation_masks": masks,
        },
    )
    moved, masks = (np.asarray(out[k])[..., 0] for k in ("images", "segmentation_masks"))
    found = np.asarray(out["bounding_boxes"]["boxes"])
    assert found.shape == (16, 1, 4)
    for image, mask, box in zip(moved, masks, found[:, 0], strict=True):
        rows, columns = np.where(image > 128)
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, corners, atol=1.1)
        assert abs(mask.sum() - 36) <= 12
    np.testing.assert_array_equal(out["labels"], np.arange(16))


def test_randaugment_chooses_evenly():
    layer = layers.RandAugment(num_ops=3, seed=1)
    keys = jax.random.split(jax.random.PRNGKey(0), 700)
    chosen = quickly(jax.vmap(lambda key: layer.draw(X.shape, key)[0]), keys)
    counts = np.bincount(np.ravel(chosen), minlength=11)
    assert len(counts) == 11 and stats.chisquare(counts).pvalue > 1e-3


def test_augmix_is_the_mixture_of_its_chains():
    layer = layers.AugMix(num_chains=2, chain_depth=2, factor=0.5, seed=1)
    keys = jax.random.split(jax.random.PRNGKey(3), (2, 2))
    weights = np.array([[0.1, 0.3, 0.5, 0.9], [0.9, 0.7, 0.5, 0.1]], "float32")
    mixed = np.array([0.2, 0.4, 0.6, 0.8], "float32")
    chosen = np.array([[4, len(layer.parts)], [7, 3]])  # one of one layer, one of two

    def both(x):
        chains = []
        for numbers, own in zip(chosen, keys, strict=True):
            y = x
            for number, key in zip(numbers, own, strict=True):
                if number < len(layer.parts):
                    part = layer.parts[number]
                    y = part.change_images(y, part.draw(x.shape, key))
            chains.append(y)
        return layer.change_images(x, (chosen, keys, weights, mixed)), chains

    found, chains = quickly(both, X)
    w, m = (np.asarray(a).reshape(*a.shape, 1, 1, 1) for a in (weights, mixed))
    wanted = (1 - m) * X + m * (w[0] * chains[0] + w[1] * chains[1])
    np.testing.assert_allclose(found, wanted, atol=1e-2)
    assert np.abs(found - X).max() > 10


def test_augmix_draws():
    layer = layers.AugMix(num_chains=3, chain_depth=3, alpha=2.0, seed=1)
    keys = jax.random.split(jax.random.PRNGKey(0), 500)
    chosen, (weights, mixed) = quickly(
        lambda: (
            jax.vmap(lambda key: layer.draw((1,), key)[0])(keys),
            layer.draw((1500,), keys[0])[2:],
        )
    )
    depths = (np.asarray(chosen) < len(layer.parts)).sum(-1).ravel()
    assert stats.chisquare(np.bincount(depths, minlength=4)).pvalue > 1e-3
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-5)
    assert stats.kstest(np.asarray(weights[0]).astype(float), stats.beta(2, 4).cdf).pvalue > 1e-3
    assert stats.kstest(np.asarray(mixed).astype(float), stats.beta(2, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", ["RandAugment", "AugMix"])
def test_policies_in_a_compiled_step(name):
    layer = getattr(layers, name)(value_range=(0, 1), seed=1)
    x = (X / 255).astype("float32")
    quick = {"xla_backend_optimization_level": 0}
    step = jax.jit(pure(lambda x: layer(x, training=True), layer.variables), compiler_options=quick)
    assert len(layer.variables) == 1  # the layers inside have no seeds of their own
    state, seen = [v.numpy() for v in layer.variables], []
    for _ in range(6):
        out, state = step(state, x)
        assert out.shape == x.shape and np.isfinite(out).all()
        assert np.asarray(out).min() >= -1e-5 and np.asarray(out).max() <= 1 + 1e-5
        seen.append(np.asarray(out).tobytes())
    assert len(set(seen)) > 3
    np.testing.assert_array_equal(layer(x, training=False), x)


def test_mistakes():
    for make, message in (
        (lambda: layers.MixUp(-0.1), "alpha"),
        (lambda: layers.CutMix(1.1), r"\[0, 1\]"),
        (lambda: layers.RandAugment(num_ops=0), "num_ops"),
        (lambda: layers.RandAugment(factor=2), r"\[0, 1\]"),
        (lambda: layers.RandAugment(interpolation="cubic"), "interpolation"),
        (lambda: layers.AugMix(chain_depth=0), "chain_depth"),
        (lambda: layers.AugMix(alpha=0), "alpha"),
        (lambda: layers.AugMix(all_ops="yes"), "all_ops"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
