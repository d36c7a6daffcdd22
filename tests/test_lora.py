"""Low-rank adaptation: the formula, Keras, training, merging, files."""

import keras
import numpy as np
import pytest

import carnyx
from carnyx import layers
from tests.cases.case import filled

RNG = np.random.default_rng(7)
X = RNG.normal(size=(3, 5, 4)).astype("float32")
IDS = RNG.integers(0, 6, (3, 5))
EINSUM = {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "de"}
KINDS = (("Dense", {"units": 3}, X), ("EinsumDense", EINSUM, X),
         ("Embedding", {"input_dim": 6, "output_dim": 3}, IDS))  # fmt: skip
by_kind = pytest.mark.parametrize(("cls", "kwargs", "x"), KINDS, ids=[k[0] for k in KINDS])


def adapted(library, cls: str, kwargs: dict, x, alpha: float | None = 6):
    """A layer that was plain and has LoRA of rank 2 now, all its weights known."""
    layer = getattr(library.layers, cls)(**kwargs, name="layer")
    layer(x)
    layer.enable_lora(2, lora_alpha=alpha)
    layer.set_weights(filled(layer.get_weights()))
    return layer


def merged(layer) -> np.ndarray:
    """W + (alpha / r) A B."""
    a, b = (w.numpy() for w in layer.weights if "lora" in w.name)
    return layer.weights[0].numpy() + layer.lora_alpha / layer.lora_rank * a @ b


@by_kind
def test_as_in_keras(cls: str, kwargs: dict, x):
    ours, theirs = (adapted(library, cls, kwargs, x) for library in (carnyx, keras))
    assert [(w.path, w.shape, w.trainable) for w in ours.weights] == [
        (w.path, w.shape, w.trainable) for w in theirs.weights
    ]
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    config = theirs.get_config()
    assert (config["lora_rank"], config["lora_alpha"]) == (2, 6)
    for absent in ("quantization_config", "gptq_unpacked_column_size"):
        config.pop(absent, None)
    assert ours.get_config() == config
    twin = type(ours).from_config(config)
    twin(x)
    assert [w.path for w in twin.weights] == [w.path for w in ours.weights]


@by_kind
def test_the_formula_and_the_start(cls: str, kwargs: dict, x):
    layer = getattr(layers, cls)(**kwargs)
    before = np.asarray(layer(x))
    layer.enable_lora(2, a_initializer="ones")
    np.testing.assert_array_equal(layer(x), before)  # B begins at zero
    assert (layer.weights[-2].numpy() == 1).all()
    for alpha in (None, 6):
        plain = getattr(layers, cls)(**kwargs)
        plain(x)
        layer = adapted(carnyx, cls, kwargs, x, alpha)
        plain.set_weights([merged(layer), *layer.get_weights()[1:-2]])
        np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-5)


@by_kind
def test_alpha_of_the_constructor_counts(cls: str, kwargs: dict, x):
    layer = getattr(layers, cls)(**kwargs, lora_rank=2, lora_alpha=6)
    layer(x)
    assert layer.lora_alpha == 6 and layer.lora_enabled  # Keras's Dense and Embedding have 2 here
    layer.set_weights(filled(layer.get_weights()))
    np.testing.assert_allclose(layer(x), adapted(carnyx, cls, kwargs, x)(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("abc,dc->abd", (None, 3)),  # the kernel's last axis is summed
        ("abc,dc->adb", (3, None)),
        ("...c,cd->...d", (3,)),
        ("abc , bcd -> ad", (3,)),
        ("abc,bc->abc", (None, None)),
    ],
)
def test_equations_of_every_form(equation: str, shape):
    kwargs = {"equation": equation, "output_shape": shape}
    layer = adapted(carnyx, "EinsumDense", kwargs, X)
    expected = np.einsum(equation.replace(" ", ""), X, merged(layer))
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5, atol=1e-5)


def test_training_moves_only_the_small_weights():
    model = carnyx.Sequential([carnyx.Input((5,)), layers.Embedding(6, 4), layers.Flatten()])
    model.add(layers.Dense(2, use_bias=False))
    model.compile("adam", "mse")
    y = RNG.normal(size=(3, 2)).astype("float32")
    model.fit(IDS, y, verbose=0)
    frozen = [model.layers[0].embeddings, model.layers[2].kernel]
    for layer in (model.layers[0], model.layers[2]):
        layer.enable_lora(1, b_initializer="ones")
    with pytest.raises(ValueError, match="compile the model again"):
        model.fit(IDS, y, verbose=0)
    model.compile("adam", "mse")
    before = [v.numpy() for v in frozen]
    small = [v.numpy() for v in model.trainable_weights]
    losses = model.fit(IDS, y, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert len(small) == 4
    for variable, value in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    for variable, value in zip(model.trainable_weights, small, strict=True):
        assert not np.array_equal(variable.numpy()[0], value[0])


def test_a_low_rank_change_is_learnt():
    u, v = RNG.normal(size=(6, 1)), RNG.normal(size=(1, 4))
    x = RNG.normal(size=(256, 6)).astype("float32")
    layer = layers.Dense(4, use_bias=False)
    model = carnyx.Sequential([carnyx.Input((6,)), layer])
    y = x @ (layer.kernel.numpy() + u @ v).astype("float32")
    layer.enable_lora(1)
    model.compile(carnyx.optimizers.Adam(0.05), "mse")
    model.fit(x, y, epochs=40, verbose=0)
    np.testing.assert_allclose(merged(layer) - layer.kernel.numpy(), u @ v, atol=1e-2)


@by_kind
def test_merging(cls: str, kwargs: dict, x):
    layer = adapted(carnyx, cls, kwargs, x)
    before, expected = np.asarray(layer(x)), merged(layer)
    layer.merge_lora()
    np.testing.assert_allclose(layer.weights[0], expected, rtol=1e-6)
    np.testing.assert_allclose(layer(x), before, rtol=1e-5, atol=1e-5)
    plain = getattr(layers, cls)(**kwargs)
    plain(x)
    assert [(w.name, w.trainable) for w in layer.weights] == [
        (w.name, w.trainable) for w in plain.weights
    ]
    assert "lora_rank" not in layer.get_config()
    layer.enable_lora(3)
    np.testing.assert_allclose(layer(x), before, rtol=1e-5, atol=1e-5)


def test_steps_compiled_before_merging_stay_right():
    layer = layers.Dense(3)
    model = carnyx.Sequential([carnyx.Input((4,)), layer])
    layer.enable_lora(2)
    layer.set_weights(filled(layer.get_weights()))
    x = X[:, 0]
    before = model.predict(x, verbose=0)
    layer.merge_lora()
    np.testing.assert_allclose(model.predict(x, verbose=0), before, rtol=1e-5)


@by_kind
def test_files_hold_the_merged_weight(cls: str, kwargs: dict, x):
    ours, theirs = (adapted(library, cls, kwargs, x) for library in (carnyx, keras))
    stores: list[dict] = [{}, {}]
    for layer, store in zip((ours, theirs), stores, strict=True):
        layer.save_own_variables(store)
    assert list(stores[0]) == list(stores[1])
    for key in stores[0]:
        np.testing.assert_allclose(stores[0][key], np.asarray(stores[1][key]), rtol=1e-6)
    outputs = np.asarray(ours(x))
    ours.load_own_variables(stores[1])
    np.testing.assert_allclose(ours(x), outputs, rtol=1e-5, atol=1e-5)
    assert ours.weights[-2].numpy().any()  # Keras makes both zero, and neither can move then
    theirs.load_own_variables(stores[0])
    np.testing.assert_allclose(theirs(x), outputs, rtol=1e-5, atol=1e-5)
    plain = getattr(layers, cls)(**kwargs)
    plain(x)
    plain.load_own_variables(stores[0])
    np.testing.assert_allclose(plain(x), outputs, rtol=1e-5, atol=1e-5)


def test_models_on_disk(tmp_path):
    def make(rank):
        inner = [layers.Dense(3, lora_rank=rank), layers.Dense(2)]
        return carnyx.Sequential([carnyx.Input((4,)), *inner])

    model, plain, other = make(2), make(None), make(1)
    model.set_weights(filled(model.get_weights()))
    model.save_weights(tmp_path / "all.weights.h5")
    for twin in (plain, other):
        twin.load_weights(tmp_path / "all.weights.h5")
        np.testing.assert_allclose(twin(X[0]), model(X[0]), rtol=1e-5)


def test_embeddings_both_ways():
    layer = layers.ReversibleEmbedding(6, 3)
    layer(IDS)
    layer.enable_lora(2)
    layer.set_weights(filled(layer.get_weights()))
    vectors = RNG.normal(size=(2, 3)).astype("float32")
    expected = vectors @ merged(layer).T
    np.testing.assert_allclose(layer(vectors, reverse=True), expected, rtol=1e-5, atol=1e-5)
    table = RNG.normal(size=(6, 3)).astype("float32")
    given = layers.Embedding(6, 3, weights=table, lora_rank=2)
    np.testing.assert_allclose(given(IDS), table[IDS], rtol=1e-6)


def test_half_types_keep_the_small_weights_exact():
    layer = layers.Dense(3, dtype="bfloat16", lora_rank=2)
    assert layer(X).dtype == "bfloat16"
    assert [w.dtype for w in layer.weights] == ["bfloat16", "bfloat16", "float32", "float32"]
    layer.merge_lora()
    assert layer.kernel.dtype == "bfloat16"


def test_frozen_layers_stay_frozen():
    layer = layers.Dense(3, trainable=False, lora_rank=2)
    layer(X)
    assert not layer.trainable_weights
    layer.merge_lora()
    assert not layer.trainable_weights


def test_mistakes():
    with pytest.raises(ValueError, match="needs a built layer"):
        layers.Dense(3).enable_lora(2)
    layer = layers.Dense(3, lora_rank=2)
    layer(X)
    with pytest.raises(ValueError, match="LoRA is on already"):
        layer.enable_lora(2)
    plain = layers.Dense(3)
    plain(X)
    with pytest.raises(ValueError, match="nothing to merge"):
        plain.merge_lora()
    for rank in (0, 2.5, True):
        with pytest.raises(ValueError, match="rank must be a whole number from 1"):
            plain.enable_lora(rank)
        with pytest.raises(ValueError, match="lora_rank must be a whole number from 1"):
            layers.Dense(3, lora_rank=rank)
    with pytest.raises(ValueError, match="lora_alpha must be a number"):
        layers.Embedding(6, 3, lora_rank=2, lora_alpha="1")
    with pytest.raises(ValueError, match="kernel_constraint must be None for LoRA"):
        layers.Dense(3, kernel_constraint="non_neg", lora_rank=2)
    bound = layers.Embedding(6, 3, embeddings_constraint="non_neg")
    bound(IDS)
    with pytest.raises(ValueError, match="embeddings_constraint must be None for LoRA"):
        bound.enable_lora(2)
    assert bound.embeddings.trainable and bound.lora_rank is None
