"""StringLookup and IntegerLookup by loops in Python: modes, learning, files, configs, models."""

import json
from collections import Counter

import jax
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.core.config import deserialize, serialize

WORDS = ["drum", "horn", "war"]
RNG = np.random.default_rng(0)
KINDS = {"StringLookup": (WORDS, "", "x"), "IntegerLookup": ([30, 10, 20], 0, 99)}
both = pytest.mark.parametrize("cls", KINDS)


def adapted(layer, data, **more):
    layer.adapt(data, **more)
    return layer


def expected_rows(ids, size, mode, weights=None):
    """Rows of a mode, by a loop over all places; -1 counts nowhere."""
    if mode == "one_hot":
        found = np.zeros((*ids.shape, size))
        for place in np.ndindex(ids.shape):
            if ids[place] >= 0:
                found[(*place, ids[place])] = 1
        return found[..., 0, :] if ids.ndim > 1 and ids.shape[-1] == 1 else found
    found = np.zeros((*ids.shape[:-1], size))
    for place in np.ndindex(ids.shape):
        if ids[place] >= 0:
            found[(*place[:-1], ids[place])] += 1
    if mode == "multi_hot":
        found = np.minimum(found, 1)
    return found if weights is None else found * weights


@both
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (3, 1), (2, 3, 4), (0,), (2, 0)])
@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count", "tf_idf"])
def test_modes_by_loops(cls, mask, shape, mode):
    terms, nothing, unknown = KINDS[cls]
    weights = [0.5, 1.5, 4.0]
    layer = getattr(layers, cls)(
        vocabulary=terms,
        mask_token=nothing if mask else None,
        output_mode=mode,
        idf_weights=weights if mode == "tf_idf" else None,
    )
    x = RNG.choice([*terms, nothing, unknown], shape)
    masks = mask and mode == "int"  # elsewhere nothing counts nowhere
    places = {term: i + 1 + masks for i, term in enumerate(terms)}
    if mask:
        places[nothing] = 0 if masks else -1
    ids = np.array([places.get(v, int(masks)) for v in x.ravel().tolist()], int).reshape(shape)
    size = 1 + len(terms)
    expected = ids
    if mode != "int":
        full = [np.mean(weights), *weights] if mode == "tf_idf" else None
        expected = expected_rows(ids, size, mode, full)
    found = layer(x)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == ("int32" if mode == "int" else "float32")
    kind = "string" if cls == "StringLookup" else "int32"
    assert layer(carnyx.KerasTensor(shape, kind)).shape == found.shape
    if kind == "int32":  # the same inside a Program
        np.testing.assert_array_equal(jax.jit(layer)(x.astype("int32")), expected)


def test_unknown_terms_have_buckets():
    # as TensorFlow hashes them
    x = ["a", "z", "y", "x", "w"]
    fast = layers.StringLookup(vocabulary=["a", "b", "c"], num_oov_indices=2)
    assert fast(x).tolist() == [2, 1, 1, 0, 1]
    salted = layers.StringLookup(vocabulary=["a", "b", "c"], num_oov_indices=3, salt=[5, 6])
    assert salted(x).tolist() == [3, 2, 1, 1, 2]
    numbers, options = [1, 7, -7, 100, 8, 9], {"vocabulary": [1, 2, 5], "num_oov_indices": 3}
    for more, expected in (
        ({}, [3, 7 % 3, -7 % 3, 100 % 3, 8 % 3, 0]),
        ({"oov_method": "farmhash"}, [3, 1, 2, 0, 1, 2]),
        ({"oov_method": "farmhash", "salt": [4, 9]}, [3, 2, 2, 0, 2, 1]),
    ):
        layer = layers.IntegerLookup(**options, **more)
        assert layer(numbers).tolist() == expected
        assert jax.jit(layer)(np.array(numbers, "int32")).tolist() == expected
    assert layers.IntegerLookup(**options)([2**40]).tolist() == [2**40 % 3]


@both
def test_there_and_back(cls):
    terms, nothing, unknown = KINDS[cls]
    for mask in (None, nothing):
        there = getattr(layers, cls)(vocabulary=terms, mask_token=mask)
        back = getattr(layers, cls)(vocabulary=terms, mask_token=mask, invert=True)
        x = np.array([[terms[2], unknown], [terms[0], terms[1]]])
        oov = "[UNK]" if cls == "StringLookup" else -1
        expected = np.where(x == unknown, oov, x.astype("<U5") if oov == "[UNK]" else x)
        np.testing.assert_array_equal(back(there(x)), expected)
        assert back(np.array([-1, 9])).tolist() == [oov, oov]
        assert back(np.array([0])).tolist() == [oov if mask is None else nothing]
        assert back(carnyx.KerasTensor((None, 2), "int32")).shape == (None, 2)


@both
def test_vocabulary_is_ranked(cls):
    terms, nothing, unknown = KINDS[cls]
    x = RNG.choice([*terms, nothing, unknown], (40, 3), p=[0.1, 0.3, 0.1, 0.3, 0.2])
    counts = Counter(v for v in x.ravel().tolist() if v != nothing)
    ranked = [t for t, _ in sorted(counts.items(), key=lambda item: item[::-1], reverse=True)]
    layer = adapted(getattr(layers, cls)(mask_token=nothing), x)
    assert layer.get_vocabulary() == [nothing, layer.oov_token, *ranked]
    assert layer.get_vocabulary(include_special_tokens=False) == ranked
    assert layer.vocabulary_size() == 2 + len(ranked)
    small = adapted(getattr(layers, cls)(max_tokens=4, mask_token=nothing), x.tolist())
    assert small.get_vocabulary() == [nothing, layer.oov_token, *ranked[:2]]
    by_batch = getattr(layers, cls)(mask_token=nothing)
    for batches in ([x[:7], x[7:]], ((x[i : i + 9], None) for i in range(0, 40, 9))):
        by_batch.adapt(iter(batches))
        assert by_batch.get_vocabulary() == layer.get_vocabulary()
    by_batch.adapt(iter([x[:7], x[7:]]), steps=1)
    assert set(by_batch.get_vocabulary()) - {nothing, layer.oov_token} == {*x[:7].flat} - {nothing}


def test_terms_as_frequent_are_in_falling_order():
    assert adapted(layers.StringLookup(), ["x", "é", "y", "a"]).get_vocabulary()[1:] == [*"éyxa"]
    assert adapted(layers.IntegerLookup(), [5, 7, 3, 3, -2]).get_vocabulary() == [-1, 3, 7, 5, -2]


def test_states_add_up():
    layer = layers.StringLookup()
    layer.update_state(["a", "b"])
    layer.update_state([["b"], ["c"]])
    layer.finalize_state()
    assert layer.get_vocabulary() == ["[UNK]", "b", "c", "a"]
    layer.reset_state()  # of what is counted, not of what is known
    layer.update_state(["d"])
    assert layer.get_vocabulary() == ["[UNK]", "b", "c", "a"]
    layer.finalize_state()
    assert layer.get_vocabulary() == ["[UNK]", "d"]


def test_weights_of_documents():
    documents = [["a", "b", "a"], ["b", "c", "b"]]
    layer = adapted(layers.StringLookup(output_mode="tf_idf"), documents)
    in_documents = {"a": 1, "b": 2, "c": 1}
    weights = {t: np.log(1 + 2 / (1 + n)) for t, n in in_documents.items()}
    a, b, c, mean = (*(weights[t] for t in "abc"), np.mean(list(weights.values())))
    assert layer.get_vocabulary() == ["[UNK]", "b", "a", "c"]
    found = layer([["a", "b", "a"], ["z", "c", "c"]])
    np.testing.assert_allclose(found, [[0, b, 2 * a, 0], [mean, 0, 0, 2 * c]], rtol=1e-6)
    flat = adapted(layers.StringLookup(output_mode="tf_idf"), ["a", "b", "b"])  # three documents
    np.testing.assert_allclose(flat([["b"]]), [[0, np.log(1 + 3 / 3), 0]], rtol=1e-6)


def test_padding_to_max_tokens():
    more = {"max_tokens": 6, "pad_to_max_tokens": True}
    layer = layers.StringLookup(vocabulary=WORDS, output_mode="count", **more)
    assert layer([["war", "x"]]).tolist() == [[1, 0, 0, 1, 0, 0]]
    weighed = layers.StringLookup(output_mode="tf_idf", **more)
    assert weighed(carnyx.KerasTensor((None, 2), "string")).shape == (None, 6)
    weighed.set_vocabulary(WORDS, [1, 2, 3])
    assert weighed([["war", "x"]]).tolist() == [[2, 0, 0, 3, 0, 0]]


def test_set_vocabulary_with_and_without_special_terms():
    layer = layers.StringLookup(mask_token="", num_oov_indices=2)
    for terms in (WORDS, np.array(WORDS), ["", "[UNK]", "[UNK]", *WORDS]):
        layer.set_vocabulary(terms)
        assert layer.get_vocabulary() == ["", "[UNK]", "[UNK]", *WORDS]
    layer.adapt([["x"]])
    assert layer.get_vocabulary()[3:] == ["x"]


def test_bytes_are_read_in_an_encoding():
    layer = layers.StringLookup(vocabulary=["é", "a"], encoding="latin-1")
    assert layer(np.array(["é".encode("latin-1"), b"a", b"q"], object)).tolist() == [1, 2, 0]


def test_no_term_is_lost_in_long_batches():
    words = np.array([f"w{i}" for i in range(3000)])
    layer = layers.StringLookup(vocabulary=words)
    x = RNG.choice(words, (50, 40))
    places = {w: i + 1 for i, w in enumerate(words.tolist())}
    assert layer(x).tolist() == [[places[w] for w in row] for row in x.tolist()]


# ---- files and configs


@both
def test_a_vocabulary_file(cls, tmp_path):
    terms = KINDS[cls][0]
    path = tmp_path / "terms.txt"
    path.write_text("\n".join(map(str, terms)) + "\n")
    for given in (path, str(path)):
        layer = getattr(layers, cls)(vocabulary=given)
        assert layer.get_vocabulary(False) == terms
        assert layer.get_config()["vocabulary"] is None  # the terms are assets, as in Keras
        assert layer.get_config()["vocabulary_size"] == 4


def test_no_config_opens_a_file(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("a\nb")
    for cls in ("StringLookup", "IntegerLookup", "TextVectorization"):
        config = {**getattr(layers, cls)().get_config(), "vocabulary": str(path)}
        with pytest.raises(ValueError, match="Configs open no files"):
            getattr(layers, cls).from_config(config)
        whole = {**serialize(getattr(layers, cls)()), "config": config}
        with pytest.raises(ValueError, match="Configs open no files"):
            deserialize(whole)


@both
@pytest.mark.parametrize("mode", ["int", "multi_hot", "tf_idf"])
def test_assets(cls, mode, tmp_path):
    terms, nothing, unknown = KINDS[cls]
    options = {"output_mode": mode, "mask_token": nothing, "num_oov_indices": 2}
    x = [[terms[0], terms[1]], [terms[1], unknown]]
    layer = adapted(getattr(layers, cls)(**options), x)
    layer.save_assets(tmp_path)
    first = [nothing] if mode == "int" else []
    oov = "[UNK]" if cls == "StringLookup" else -1
    lines = (tmp_path / "vocabulary.txt").read_text().split("\n")
    assert lines == list(map(str, [*first, oov, oov, *layer.get_vocabulary(False)]))
    twin = getattr(layers, cls).from_config(layer.get_config())
    assert not twin.learnt
    shape = twin(carnyx.KerasTensor((None, 2), "int64" if oov == -1 else "string")).shape
    twin.load_assets(tmp_path)
    assert twin.get_vocabulary() == layer.get_vocabulary()
    np.testing.assert_array_equal(twin(x), layer(x))
    assert shape == (None, 2 if mode == "int" else layer.vocabulary_size())


def test_assets_of_unusual_layers(tmp_path):
    fixed = layers.StringLookup(vocabulary=WORDS)
    fixed.save_assets(tmp_path)
    assert not list(tmp_path.iterdir())  # the config has them
    layers.StringLookup().save_assets(tmp_path)
    other = layers.StringLookup()
    other.load_assets(tmp_path)
    assert not other.learnt
    nameless = {"oov_token": None, "output_mode": "tf_idf"}
    layer = adapted(layers.StringLookup(**nameless), [["é\x1cb", "b"], ["\u2028", "b"]])
    layer.save_assets(tmp_path)
    twin = layers.StringLookup(**nameless)
    twin.load_assets(tmp_path)
    assert twin.get_vocabulary() == layer.get_vocabulary() == [None, "b", "\u2028", "é\x1cb"]
    np.testing.assert_array_equal(twin([["b", "q"]]), layer([["b", "q"]]))
    with pytest.raises(ValueError, match="line breaks cannot be lines"):
        adapted(layers.StringLookup(), ["a\nb"]).save_assets(tmp_path)


def test_configs_are_keras_own():
    # as Keras 3.15 prints them, which needs TensorFlow to make these layers
    shared = {
        "name": "n",
        "trainable": True,
        "invert": False,
        "max_tokens": None,
        "num_oov_indices": 1,
        "mask_token": None,
        "output_mode": "int",
        "sparse": False,
        "pad_to_max_tokens": False,
        "idf_weights": None,
        "oov_method": "floormod",
        "salt": None,
    }
    for layer, more in (
        (
            layers.StringLookup(vocabulary=np.array(["a", "b"]), name="n"),
            {"oov_token": "[UNK]", "vocabulary": ["a", "b"], "encoding": "utf-8"},
        ),
        (
            layers.IntegerLookup(vocabulary=(3, 4), name="n"),
            {"oov_token": -1, "vocabulary": [3, 4], "vocabulary_dtype": "int64"},
        ),
    ):
        config = layer.get_config()
        assert config.pop("dtype")["config"] == {"name": "float32"}
        assert config == {**shared, **more, "vocabulary_size": 3}
        twin = deserialize(json.loads(json.dumps(serialize(layer))))
        assert twin.get_config() == layer.get_config()
        assert twin.get_vocabulary() == layer.get_vocabulary()
    old = layers.StringLookup.from_config({"vocabulary": ["a"], "has_input_vocabulary": True})
    assert old.get_vocabulary() == ["[UNK]", "a"]
    assert layers.StringLookup(output_mode="binary").output_mode == "multi_hot"
    assert layers.StringLookup(output_mode="tf-idf").output_mode == "tf_idf"


@pytest.mark.parametrize("engine", ["xla", "numpy"])
def test_numbers_are_looked_up_inside_a_model(engine):
    terms = RNG.permutation(np.arange(-50, 50))[:37]
    lookup = layers.IntegerLookup(vocabulary=[*terms, 2**40], num_oov_indices=2)
    model = carnyx.Sequential(
        [carnyx.Input((3,), dtype="int32"), lookup, layers.Embedding(40, 2), layers.Flatten()]
    )
    model.add(layers.Dense(1))
    model.compile("sgd", "mse", engine=engine)
    x = RNG.integers(-60, 60, (16, 3)).astype("int32")
    before = np.asarray(model(x))
    np.testing.assert_allclose(model.predict(x, verbose=0), before, rtol=1e-5, atol=1e-6)
    history = model.fit(x, np.ones((16, 1)), epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]


STRINGS, NUMBERS = layers.StringLookup, layers.IntegerLookup


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: STRINGS(max_tokens=1), "max_tokens must be a whole number from 2"),
        (lambda: STRINGS(max_tokens=2, mask_token=""), "max_tokens must be a whole number from 3"),
        (lambda: STRINGS(max_tokens=2, num_oov_indices=3), "must be a whole number from 4"),
        (lambda: STRINGS(pad_to_max_tokens=True), "max_tokens must be a whole number from 2"),
        (lambda: STRINGS(num_oov_indices=-1), "num_oov_indices must be a whole number from 0"),
        (lambda: STRINGS(output_mode="word"), "output_mode must be one of"),
        (lambda: STRINGS(sparse=True), "sparse must be False"),
        (lambda: STRINGS(invert=True, output_mode="count"), "output_mode must be 'int'"),
        (lambda: STRINGS(vocabulary=WORDS, idf_weights=[1, 2, 3]), "idf_weights must be given for"),
        (lambda: STRINGS(idf_weights=[1], output_mode="tf_idf"), "given with a vocabulary"),
        (lambda: STRINGS(vocabulary=WORDS, output_mode="tf_idf"), "idf_weights must be given for"),
        (
            lambda: STRINGS(vocabulary=WORDS, output_mode="tf_idf", idf_weights=[1, 2]),
            r"3 terms have idf_weights of shape \(2,\)",
        ),
        (lambda: STRINGS(vocabulary=[]), "a list of one or more terms"),
        (lambda: STRINGS(vocabulary=["a", "b", "a"]), r"repeated terms: \['a'\]"),
        (lambda: STRINGS(vocabulary=["a", ""], mask_token=""), "lie inside the vocabulary"),
        (lambda: STRINGS(vocabulary=["a", "[UNK]"], invert=True), "lie inside the vocabulary"),
        (lambda: STRINGS(vocabulary=WORDS, max_tokens=3), "has 4 terms, special ones included"),
        (lambda: STRINGS(vocabulary=[1, 2]), "terms are strings; received 1 of type int"),
        (lambda: STRINGS(vocabulary=WORDS).adapt(WORDS), "was given its vocabulary"),
        (lambda: STRINGS().adapt([]), "was given no data"),
        (lambda: STRINGS()(["a"]), "there is no vocabulary yet"),
        (lambda: STRINGS(vocabulary=WORDS)([1]), "takes strings; received int"),
        (lambda: STRINGS(vocabulary=WORDS)(["a", None]), "received None of type NoneType"),
        (lambda: STRINGS(vocabulary=WORDS)([["a"], ["a", "b"]]), "must be equally long"),
        (lambda: STRINGS(vocabulary=WORDS, num_oov_indices=0)(["a"]), r"not in .*: \['a'\]"),
        (lambda: jax.jit(STRINGS(vocabulary=WORDS))(np.ones(2)), "Strings live on the host"),
        (lambda: NUMBERS(vocabulary=[1.5]), "terms are whole numbers; received 1.5"),
        (lambda: NUMBERS(vocabulary=[1])([1.0]), "takes whole numbers; received float"),
        (lambda: NUMBERS(vocabulary=[1], invert=True)([1.0]), "inverted, it takes whole numbers"),
        (lambda: NUMBERS(vocabulary=[1], num_oov_indices=0)([1, 2]), r"not in .*: \[2\]"),
        (lambda: NUMBERS(salt=[1, 2]), "oov_method must be 'farmhash' for a salt"),
        (lambda: NUMBERS(oov_method="mod"), "oov_method must be one of"),
        (lambda: NUMBERS(vocabulary_dtype="int32"), "vocabulary_dtype must be one of"),
        (lambda: STRINGS().adapt(3), "takes an array or an iterable of batches"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
