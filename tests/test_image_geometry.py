"""Layers that move pixels: what a draw does against Keras on JAX, boxes and masks by following
pixels, identities, the statistics of draws, training inside a model."""

import jax
import keras
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.core.state import pure
from carnyx.layers.image_geometry import happens
from carnyx.ops.boxes import clip

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 255, (3, 7, 9, 2)).astype("float32")
MASKS = RNG.integers(0, 4, (3, 7, 9, 1)).astype("uint8")
BOXES = np.array([[[1, 2, 5, 6], [0, 0, 2, 2]], [[3, 3, 9, 7], [6, 1, 8, 3]]] * 2, "float32")[:3]
LABELS = np.arange(6).reshape(3, 2).astype("int32")
FULL = {"factor": (1.0, 1.0)}

MOVING = [
    ("RandomFlip", {"mode": "horizontal"}),
    ("RandomFlip", {"mode": "vertical"}),
    ("RandomRotation", {"factor": 0.4}),
    ("RandomRotation", {"factor": 0.4, "fill_mode": "constant", "fill_value": 3}),
    ("RandomTranslation", {"height_factor": 0.3, "width_factor": 0.4, "fill_mode": "wrap"}),
    ("RandomZoom", {"height_factor": 0.3, "width_factor": 0.4, "interpolation": "nearest"}),
    ("RandomZoom", {"height_factor": 0.3, "fill_mode": "nearest"}),
    ("RandomShear", {"x_factor": 0.3, "y_factor": 0.4}),
    ("RandomPerspective", {"scale": 0.4, "fill_value": 3, **FULL}),
]
QUICK = {"xla_backend_optimization_level": 0}  # compiling is what takes the time
by_row = pytest.mark.parametrize(("name", "options"), MOVING)


def quick(function, *args):
    """The result of a function compiled once, without optimisations."""
    return jax.jit(function, compiler_options=QUICK)(*args)


def called(function, parts, *args):
    """`quick`, of a function that draws from layers."""
    variables = [v for layer in parts for v in layer.variables]
    return quick(pure(function, variables), [v.value for v in variables], *args)[0]


def boxes(values=BOXES):
    return {"boxes": values, "labels": LABELS.copy()}


def sizeless(drawn):
    """Keras's draw without what is no array, which ours does not need."""
    return {k: np.asarray(v) for k, v in drawn.items() if np.ndim(v)}


def of_keras(name, options):
    """A layer of Keras's and one draw of it."""
    theirs = getattr(keras.layers, name)(**options, seed=4, bounding_box_format="xyxy")
    return theirs, theirs.get_random_transformation(X)


@by_row
def test_what_keras_does_under_its_own_draw(name, options):
    ours = getattr(layers, name)(**options, bounding_box_format="xyxy")
    theirs, drawn = of_keras(name, options)

    def run(layer, drawn, x, masks, corners):
        images = layer.transform_images(x, drawn)
        masks = layer.transform_segmentation_masks(masks, drawn)
        if layer is theirs:
            return images, masks, theirs.transform_bounding_boxes(boxes(corners), drawn)
        corners = ours.change_boxes(corners, drawn, X.shape[1:3])
        return images, masks, clip({**boxes(), "boxes": corners}, *X.shape[1:3])

    found, expected = quick(
        lambda *data: (run(ours, sizeless(drawn), *data), run(theirs, drawn, *data)),
        *(X, MASKS, BOXES),
    )
    for a, b in zip(found[:2], expected[:2], strict=True):
        # a nearest pixel may differ where the place is a tie up to rounding
        wrong = np.abs(np.asarray(a) - b) > 0.02
        assert a.shape == b.shape and wrong.mean() <= 0.02
    assert found[0].dtype == "float32" and found[1].dtype == "uint8"
    if name != "RandomShear":  # Keras moves boxes by another shear: below they follow the pixels
        np.testing.assert_allclose(found[2]["boxes"], expected[2]["boxes"], atol=1e-3)
        np.testing.assert_array_equal(found[2]["labels"], expected[2]["labels"])


@pytest.mark.parametrize(
    ("name", "options"),
    [*MOVING, ("Resizing", {"height": 40, "width": 90, "crop_to_aspect_ratio": True})]
    + [("Resizing", {"height": 40, "width": 90, "pad_to_aspect_ratio": True})]
    + [("CenterCrop", {"height": 60, "width": 70}), ("CenterCrop", {"height": 100, "width": 90})]
    + [("RandomCrop", {"height": 60, "width": 70})],
)
def test_boxes_and_masks_follow_the_pixels(name, options):
    """A filled rectangle, found again in the image, lies in its box and reaches its sides."""
    options = {**options, "bounding_box_format": "rel_xywh"}
    if "fill_mode" in options or name in ("RandomRotation", "RandomZoom", "RandomShear"):
        options["fill_mode"] = "constant"
    options.pop("fill_value", None)
    seeded = {} if name in ("Resizing", "CenterCrop") else {"seed": 1}
    layer = getattr(layers, name)(**options, **seeded)
    for _ in range(2):  # two draws
        image = np.zeros((1, 80, 80, 1), "float32")
        image[:, 30:50, 35:55] = 1
        box = np.array([[[35, 30, 20, 20]]]) / 80
        data = {"images": image, "segmentation_masks": image.astype("uint8")}
        data["bounding_boxes"] = {"boxes": box, "labels": np.array([[5]])}
        out = layer(data)
        height, width = out["images"].shape[1:3]
        seen = np.argwhere(np.asarray(out["images"])[0, ..., 0] > 0.5)[:, ::-1]
        scale = np.array([width, height, width, height])
        x, y, w, h = np.asarray(out["bounding_boxes"]["boxes"])[0, 0] * scale
        low, high = seen.min(0), seen.max(0) + 1
        np.testing.assert_allclose([*low, *high], [x, y, x + w, y + h], atol=1.7)
        assert int(out["bounding_boxes"]["labels"][0, 0]) == 5
        mask = np.asarray(out["segmentation_masks"])[..., 0]
        assert mask.dtype == "uint8" and (mask == (out["images"][..., 0] > 0.5)).mean() > 0.99


def test_boxes_that_left_are_marked():
    layer = layers.RandomTranslation(0.0, (0.5, 0.5), bounding_box_format="xyxy")
    out = layer({"images": np.zeros((3, 7, 9, 1)), "bounding_boxes": boxes()})["bounding_boxes"]
    np.testing.assert_allclose(out["boxes"][0], [[5.5, 2, 9, 6], [4.5, 0, 6.5, 2]])
    np.testing.assert_array_equal(out["labels"], [[0, 1], [2, -1], [4, 5]])


KEY = np.array([1, 0], "uint32")


def drawn_by(*made):
    """One draw of 4000 images of each layer."""
    shape = (4000, 20, 30, 3)
    return quick(lambda key: [layer.draw(shape, key) for layer in made], KEY)


def test_uniform_draws():
    """Every draw fills its interval evenly: limits and quartiles of 4000."""
    rows = [
        (layers.RandomRotation((-0.1, 0.3)), "angle", {0: (-36, 108)}),
        (layers.RandomTranslation(0.2, (-0.1, 0.3)), "translations", {0: (-3, 9), 1: (-4, 4)}),
        (layers.RandomZoom((-0.1, 0.3)), "height_zoom", {0: (0.9, 1.3)}),
        (layers.RandomZoom(0.1, 0.3), "width_zoom", {0: (0.7, 1.3)}),
        (layers.RandomShear(0.2, (0.1, 0.2)), "shear_factor", {0: (-0.2, 0.2), 1: (0.1, 0.2)}),
        (
            layers.RandomPerspective(scale=0.5),
            "end_points",
            {1: (-4.75, 4.75), 6: (29 - 7.25, 29 + 7.25)},
        ),
    ]
    found = drawn_by(*(layer for layer, _, _ in rows))
    for drawn, (layer, key, columns) in zip(found, rows, strict=True):
        for column, (low, high) in columns.items():
            values = np.asarray(drawn[key]).reshape(4000, -1)[:, column]
            # limits up to rounding; a quartile of 4000 has a deviation of 0.007 of the interval
            assert low - 1e-5 <= values.min() and values.max() <= high + 1e-5
            quartiles, even = np.quantile(values, np.linspace(0, 1, 5)), np.linspace(low, high, 5)
            wide = 0.03 * (high - low)
            np.testing.assert_allclose(quartiles, even, atol=wide, err_msg=layer.name)
    one, both = found[2], found[3]
    np.testing.assert_array_equal(one["height_zoom"], one["width_zoom"])
    assert abs(np.corrcoef(both["height_zoom"][:, 0], both["width_zoom"][:, 0])[0, 1]) < 0.05


def test_chances():
    """P(u < p) with p uniform in (a, b) is (a + b) / 2; flips are even and independent."""
    factors = {(0.0, 1.0): 0.5, (1.0, 1.0): 1, (0.0, 0.0): 0, (0.2, 0.4): 0.3}
    found = quick(lambda key: [happens(key, 4000, f) for f in factors], KEY)
    np.testing.assert_allclose(np.mean(found, 1), list(factors.values()), atol=0.03)
    seen, flips = drawn_by(layers.RandomPerspective((0.2, 0.4)), layers.RandomFlip())
    assert abs(np.mean(seen["apply_perspective"]) - 0.3) < 0.03
    pairs = np.bincount(np.asarray(flips["flips"]).astype(int) @ [1, 2], minlength=4)
    np.testing.assert_allclose(pairs / 4000, 0.25, atol=0.03)
    crops = layers.RandomCrop(5, 4, seed=2)
    places = {tuple(map(int, crops.get_random_transformation(X))) for _ in range(150)}
    assert places == {(top, left) for top in range(3) for left in range(6)}


def test_identities():
    still = [
        layers.RandomRotation(0.0),
        layers.RandomTranslation(0.0, 0.0),
        layers.RandomZoom(0.0),
        layers.RandomShear(),
        layers.RandomPerspective(scale=0.0, **FULL),
        layers.RandomErasing(0.0, fill_value=0.0),
    ]
    for found in called(lambda x: [layer(x) for layer in still], still, X):
        np.testing.assert_allclose(found, X, atol=2e-3)
    flip = layers.RandomFlip()
    drawn = {"flips": np.array([[True, False], [True, True]])}
    twice = flip.transform_images(flip.transform_images(X[:2], drawn), drawn)
    np.testing.assert_array_equal(twice, X[:2])
    square = X[:, :, :7]
    quarter = {"angle": np.array([90.0, 180, 270], "float32")}
    turned = layers.RandomRotation(1.0).transform_images(square, quarter)
    expected = [np.rot90(x, k) for k, x in enumerate(square, 1)]
    np.testing.assert_allclose(turned, expected, atol=1e-2)


def test_samples_differ_and_seeds_repeat():
    same = np.repeat(X[:1], 4, 0)
    for name, options in (
        ("RandomRotation", {"factor": 0.4}),
        ("RandomPerspective", {"scale": 0.4, **FULL}),
        ("RandomErasing", {"fill_value": 0.0, **FULL}),
    ):
        first, second = (getattr(layers, name)(**options, seed=7) for _ in range(2))
        parts = first, second
        out, again, later = called(lambda x, a=first, b=second: (a(x), b(x), a(x)), parts, same)
        assert all(np.abs(out[0] - x).max() > 1 for x in out[1:])
        np.testing.assert_array_equal(out, again)
        assert np.abs(later - out).max() > 1  # the next draw is another


def test_erased_patches():
    ones = np.ones((400, 40, 60, 3), "float32")
    layer = layers.RandomErasing(**FULL, scale=(0.1, 0.5), fill_value=9)
    drawn = quick(lambda key: layer.draw(ones.shape, key), KEY)
    patches = np.asarray(drawn["batch_masks"])[..., 0]
    heights, widths = patches.any(2).sum(1), patches.any(1).sum(1)
    np.testing.assert_array_equal(patches.sum((1, 2)), heights * widths)  # rectangles
    # size sqrt(a) of the side with a in (0.1, 0.5), up to the pixels' grid
    for sizes, side in ((heights, 40), (widths, 60)):
        assert side * 0.316 - 1 <= sizes.min() and sizes.max() <= side * 0.708 + 1
        mean = 2 / 3 * (0.5**1.5 - 0.1**1.5) / 0.4
        assert abs(sizes.mean() / side - mean) < 0.02
    found = layer.transform_images(ones, drawn)
    np.testing.assert_array_equal(np.asarray(found)[..., 0], np.where(patches, 9, 1))
    noisy = layers.RandomErasing((1.0, 1.0), (1.0, 1.0), value_range=(0, 2), seed=1)
    noise = np.asarray(called(noisy, [noisy], ones))
    # a normal number times 2, cut to [0, 2]: half are 0, 0.159 are 2, the mean is 2 * 0.3156
    found = [(noise == 0).mean(), (noise == 2).mean(), noise.mean()]
    np.testing.assert_allclose(found, [0.5, 0.159, 0.631], atol=0.01)


def test_elastic_images():
    layer = layers.RandomElasticTransform((1.0, 1.0), (0.3, 0.3), value_range=(20, 200), seed=1)
    out = called(layer, [layer], {"images": X, "segmentation_masks": MASKS})
    assert out["images"].min() >= 20 and out["images"].max() <= 200
    masks = out["segmentation_masks"]
    assert set(np.unique(masks)) <= {0, 1, 2, 3} and masks.dtype == "uint8"
    drawn = quick(lambda key: layer.draw((8, 64, 96, 1), key), KEY)
    np.testing.assert_allclose(drawn["distortion_factor"], 0.3)
    deviation = np.std(np.asarray(drawn["displacements"]))
    np.testing.assert_allclose(deviation, 0.3 * 9.6 / np.sqrt(4 * np.pi), rtol=0.1)
    with pytest.raises(ValueError, match="do not follow an elastic deformation"):
        layers.RandomElasticTransform(bounding_box_format="xyxy")(
            {"images": X, "bounding_boxes": boxes()}
        )


def test_crops():
    layer = layers.RandomCrop(4, 5, seed=3, name="crop")
    assert type(layer).from_config(layer.get_config()).name == layer.name == "crop"
    top, left = map(int, layer.get_random_transformation(X))
    part = layer.transform_images(X, (np.int32(top), np.int32(left)))
    np.testing.assert_array_equal(part, X[:, top : top + 4, left : left + 5])
    middle = layers.Resizing(4, 5, crop_to_aspect_ratio=True)(X)
    np.testing.assert_array_equal(layer(X, training=False), middle)
    larger = layers.RandomCrop(14, 9)
    expected = layers.Resizing(14, 9, crop_to_aspect_ratio=True)(X)
    np.testing.assert_array_equal(larger(X), expected)
    box = {"boxes": BOXES, "labels": LABELS}
    data = {"images": X, "bounding_boxes": box, "labels": np.arange(3)}
    out = layers.CenterCrop(4, 4, bounding_box_format="xyxy")(data)
    expected = np.clip(BOXES - [2, 1, 2, 1], 0, 4)
    np.testing.assert_allclose(out["bounding_boxes"]["boxes"], expected)
    assert list(out["labels"]) == [0, 1, 2] and data["images"] is X  # the input is left alone


def test_types():
    def type_of(layer, x, **options):
        step = pure(lambda x: layer(x, **options), layer.variables)
        return jax.eval_shape(step, [v.value for v in layer.variables], x)[0].dtype

    for kind in ("uint8", "float32", "int32"):
        x = X.astype(kind)
        assert type_of(layers.Resizing(4, 5), x) == kind
        assert type_of(layers.CenterCrop(2, 2), x) == "float32"
        for training in (False, True):
            for name in ("RandomFlip", "RandomErasing", "RandomPerspective"):
                assert type_of(getattr(layers, name)(), x, training=training) == "float32"
    pair = [layers.RandomRotation(0.2, dtype=d, seed=1) for d in ("bfloat16", "float32")]
    half, exact = called(lambda x: [layer(x) for layer in pair], pair, X / 255)
    assert half.dtype == "bfloat16"
    np.testing.assert_allclose(half.astype("float32"), exact, atol=2**-8)  # 8 bits, once


@pytest.mark.parametrize("name", ["RandomFlip", "RandomZoom", "CenterCrop", "RandomErasing"])
def test_forms_of_input(name):
    args = {"RandomZoom": (0.3,), "CenterCrop": (4, 5), "RandomErasing": (1.0, 0.3, 0.0)}
    args = args.get(name, ())
    seeded = {} if name == "CenterCrop" else {"seed": 5}

    def call(x, **options):
        return np.asarray(getattr(layers, name)(*args, **options, **seeded)(x))

    whole = call(X[:1])
    np.testing.assert_array_equal(call(X[0]), whole[0])
    first = call(X[:1].transpose(0, 3, 1, 2), data_format="channels_first")
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), whole)
    single = {"images": X[0], "segmentation_masks": MASKS[0], "labels": np.int32(3)}
    single["bounding_boxes"] = {"boxes": BOXES[0], "labels": LABELS[0]}
    layer = getattr(layers, name)(*args, bounding_box_format="xyxy", **seeded)
    out = layer({**single, "name": 1.0})
    np.testing.assert_array_equal(out["images"], whole[0])
    assert out["segmentation_masks"].shape == (*whole.shape[1:3], 1)
    assert out["bounding_boxes"]["boxes"].shape == (2, 4) and int(out["labels"]) == 3
    assert out["name"] == 1.0
    nothing = call(X[:0])
    assert nothing.shape == (0, *whole.shape[1:])


def test_inference_passes_images_through():
    for name, options in MOVING:
        layer = getattr(layers, name)(**options, bounding_box_format="xyxy")
        assert layer.get_random_transformation(X, training=False) is None
        out = layer({"images": X, "bounding_boxes": boxes()}, training=False)
        np.testing.assert_array_equal(out["images"], X)
        np.testing.assert_array_equal(out["bounding_boxes"]["boxes"], BOXES)
        np.testing.assert_array_equal(out["bounding_boxes"]["labels"], LABELS)


def test_numbers_of_boxes_equal_keras():
    for count in (1, 3):
        found, expected = (
            m.MaxNumBoundingBoxes(count, bounding_box_format="xyxy")(
                {"images": X.copy(), "bounding_boxes": boxes()}
            )["bounding_boxes"]
            for m in (layers, keras.layers)
        )
        for key in ("boxes", "labels"):
            np.testing.assert_array_equal(found[key], expected[key])
    layer = layers.MaxNumBoundingBoxes(4, fill_value=-2)
    single = {"images": X[0], "bounding_boxes": {"boxes": BOXES[0], "labels": LABELS[0]}}
    assert layer(single)["bounding_boxes"]["labels"].tolist() == [0, 1, -2, -2]
    assert layer.get_config()["fill_value"] == -2
    assert type(layer).from_config(layer.get_config()).max_number == 4


def test_pipeline():
    parts = [layers.RandomFlip(seed=1), layers.Resizing(4, 5), layers.Rescaling(0.5)]
    pipe = layers.Pipeline(parts, name="p")
    flip, resize, _ = parts
    found, still = called(lambda x: (pipe(x), pipe(x, training=False)), [pipe], X)
    flip.seed_generator.state.assign([1, 0])
    expected = called(lambda x: (resize(flip(x)) * 0.5, resize(x) * 0.5), [flip], X)
    np.testing.assert_allclose(found, expected[0], rtol=1e-6)
    np.testing.assert_allclose(still, expected[1], rtol=1e-6)
    assert pipe.layers == parts and len(pipe.variables) == 1
    theirs = keras.layers.Pipeline.from_config(pipe.get_config())
    assert theirs.get_config() == pipe.get_config()
    twin = layers.Pipeline.from_config(theirs.get_config())
    assert [type(layer) for layer in twin.layers] == [type(layer) for layer in parts]
    assert pipe(carnyx.KerasTensor((None, 8, 9, 3))).shape == (None, 4, 5, 3)
    data = {"images": X, "segmentation_masks": MASKS}
    assert layers.Pipeline(parts[1:2])(data)["segmentation_masks"].shape == (3, 4, 5, 1)
    with pytest.raises(ValueError, match="a list of layers"):
        layers.Pipeline([3])


def test_traced_is_eager():
    options = [{"factor": 0.4, "seed": 7}, {"factor": (1.0, 1.0), "seed": 8}]
    eager, traced = (
        [layers.RandomRotation(**options[0]), layers.RandomErasing(**options[1])] for _ in range(2)
    )
    step = pure(layers.Pipeline(traced), layers.Pipeline(traced).variables)
    out, values = quick(step, [v.value for layer in traced for v in layer.variables], X)
    np.testing.assert_allclose(eager[1](eager[0](X)), out, rtol=1e-5, atol=1e-2)
    for layer, value in zip(eager, values, strict=True):
        np.testing.assert_array_equal(value, layer.variables[0].value)


def test_in_training():
    """Inside fit, on channels of a model: each epoch draws anew; predict leaves the images."""
    model = carnyx.Sequential(
        [
            carnyx.Input((8, 8, 1)),
            layers.RandomFlip("horizontal", seed=1),
            layers.RandomRotation(0.1, seed=2),
            layers.RandomZoom(0.1, seed=3),
            layers.RandomCrop(6, 6, seed=4),
            layers.RandomErasing(value_range=(0, 1), seed=5),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 64)
    x = rng.normal(0, 0.1, (64, 8, 8, 1)).astype("float32")
    x[y == 1, 3:] += 1  # the lower part is bright
    model.compile(
        carnyx.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(x, y, epochs=6, batch_size=16, verbose=0).history
    assert history["accuracy"][-1] > 0.9
    assert [v.numpy()[1] for v in model.layers[0].variables] == [24]  # one draw a step
    first, second = model.predict(x, verbose=0), model.predict(x, verbose=0)
    np.testing.assert_array_equal(first, second)


ERRORS = [
    (lambda: layers.RandomRotation(2.0), r"factor must be a number in \[-1, 1\]"),
    (lambda: layers.RandomRotation((0.1, 0.2, 0.3)), "a number or a pair"),
    (lambda: layers.RandomRotation(0.1, "mirror"), "fill_mode must be one of"),
    (lambda: layers.RandomZoom(0.1, interpolation="cubic"), "interpolation must be one of"),
    (lambda: layers.RandomZoom(-1.0), "height_factor must be"),
    (lambda: layers.RandomTranslation(0.1, 1.5), "width_factor must be"),
    (lambda: layers.RandomShear((-0.1, 1.2)), "x_factor must be"),
    (lambda: layers.RandomPerspective(scale=2), "scale must be"),
    (lambda: layers.RandomErasing(factor=-0.1), "factor must be"),
    (lambda: layers.RandomErasing(value_range=(1, 1)), "value_range must be two different"),
    (lambda: layers.RandomFlip("horizontl"), "Did you mean 'horizontal'"),
    (lambda: layers.RandomCrop(0, 4), "height must be a whole number"),
    (lambda: layers.Resizing(3.5, 4), "height must be a whole number"),
    (lambda: layers.Resizing(3, 4, "area"), "interpolation must be one of"),
    (lambda: layers.Resizing(3, 4, "nearest", True, True), "crop_to_aspect_ratio is True"),
    (lambda: layers.MaxNumBoundingBoxes(0), "max_number must be"),
    (lambda: layers.RandomFlip()(X[0, 0]), r"images are \[H, W, C\]"),
    (lambda: layers.RandomFlip()({"image": X}), "Received the keys"),
    (lambda: layers.RandomFlip()({"images": X, "bounding_boxes": boxes()}), "format is not said"),
    (lambda: layers.RandomFlip(bounding_box_format="xyyx"), "Did you mean 'xyxy'"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RandomFlip", "RandomRotation", "RandomErasing", "RandomCrop"])
def test_numpy_engine_trains_like_xla(name):
    options = {"RandomRotation": (0.3,), "RandomCrop": (5, 6)}.get(name, ())
    ends = []
    for engine in ("xla", "numpy"):
        layer = getattr(layers, name)(*options, seed=3)
        dense = layers.Dense(2, kernel_initializer="ones")
        model = carnyx.Sequential([carnyx.Input((7, 9, 2)), layer, layers.Flatten(), dense])
        model.compile("sgd", "mse", engine=engine)
        model.fit(X / 255, np.eye(2)[[0, 1, 1]], batch_size=1, epochs=1, verbose=0, shuffle=False)
        ends.append([*model.get_weights(), model.predict(X, verbose=0)])
    for found, expected in zip(*ends, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
