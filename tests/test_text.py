"""TextVectorization against a plain loop over texts, and Keras's documented examples."""

import json
import re
import string
from collections import Counter
from pydoc_data.topics import topics

import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.core.config import deserialize, serialize

TEXTS = [
    "The horn, the drum: the WAR-horn!",
    "",
    "  don't\tstop\n#1 @x_y \x0b\x0c a\x1cb ",
    "É ß İ\u00a0one\u2003word  the É",
    "...",
]
DOCUMENTED = ["foo", "bar", "baz"]


def words_of(text, standardize, split, ngrams):
    """The words of a text, step by step."""
    if "lower" in (standardize or ""):
        text = re.sub("[A-Z]", lambda m: chr(ord(m[0]) + 32), text)
    if "strip" in (standardize or ""):
        text = "".join(c for c in text if c not in string.punctuation)
    words = [text]
    if split == "character":
        words = list(text)
    elif split == "whitespace":
        words = [w for w in re.split("[ \t\n\r\x0b\x0c]", text) if w]
    if ngrams is None:
        return words
    lengths = range(1, ngrams + 1) if isinstance(ngrams, int) else ngrams
    return [" ".join(words[i : i + n]) for n in lengths for i in range(len(words) - n + 1)]


def vectorised(*args, data=TEXTS, **kwargs):
    layer = layers.TextVectorization(*args, **kwargs)
    layer.adapt(data)
    return layer


@pytest.mark.parametrize("ngrams", [None, 2, (3, 1)])
@pytest.mark.parametrize("split", ["whitespace", "character", None])
@pytest.mark.parametrize(
    "standardize", ["lower_and_strip_punctuation", "lower", "strip_punctuation", None]
)
def test_words_by_loops(standardize, split, ngrams):
    ways = {"standardize": standardize, "split": split, "ngrams": ngrams}
    rows = [words_of(text, **ways) for text in TEXTS]
    counts = Counter(w for row in rows for w in row if w)
    ranked = [t for t, _ in sorted(counts.items(), key=lambda item: item[::-1], reverse=True)]
    layer = vectorised(**ways)
    assert layer.get_vocabulary() == ["", "[UNK]", *ranked]
    places = {w: i for i, w in enumerate(["", "[UNK]", *ranked])}
    width = max(map(len, rows))
    expected = [[places[w] for w in row] + [0] * (width - len(row)) for row in rows]
    found = layer(TEXTS) if split else layer([[text] for text in TEXTS])
    assert found.tolist() == expected
    counting = layers.TextVectorization(vocabulary=ranked, output_mode="count", **ways)
    sums = np.zeros((len(rows), 1 + len(ranked)))
    for row, words in zip(sums, rows, strict=True):
        for word in filter(None, words):
            row[places[word] - 1] += 1
    np.testing.assert_array_equal(counting([[text] for text in TEXTS]), sums)


@pytest.mark.parametrize("shape", ["[B]", "[B, 1]", "list", "bytes", "[]"])
def test_shapes(shape):
    texts = {
        "[B]": np.array(["a b q", "b"]),
        "[B, 1]": np.array([["a b q"], ["b"]], object),
        "list": [["a b q"], ["b"]],
        "bytes": np.array([b"a b q", b"b"]),
        "[]": "a b q",
    }[shape]
    layer = layers.TextVectorization(vocabulary=["a", "b"])
    expected = [[2, 3, 1], [3, 0, 0]]
    assert layer(texts).tolist() == (expected[0] if shape == "[]" else expected)


def test_words_of_their_own_without_a_split():
    layer = layers.TextVectorization(vocabulary=["a b", "c"], split=None)
    assert layer([["a b", "c"], ["q", "A B"]]).tolist() == [[2, 3], [1, 2]]
    assert layer(["a b", "c"]).tolist() == [2, 3]
    paired = layers.TextVectorization(vocabulary=["a b", "a"], split=None, ngrams=2)
    assert paired([["a", "b"], ["c", "d e"]]).tolist() == [[3, 1, 2], [1, 1, 1]]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_length_cuts_and_pads(length):
    layer = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=length)
    rows = ([2, 3, 1, 2], [], [3])
    expected = [(row + [0] * length)[:length] for row in rows]
    assert layer(["a b q a", "", "b"]).tolist() == expected
    assert layer(carnyx.KerasTensor((None, 1), "string")).shape == (None, length)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count", "tf_idf"])
def test_modes(mode):
    weights = [0.5, 2.0]
    layer = layers.TextVectorization(
        vocabulary=["a", "b"],
        output_mode=mode,
        idf_weights=weights if mode == "tf_idf" else None,
    )
    found = np.asarray(layer(["a a q", "", "b"]))
    one_hot = [[[0, 1, 0], [0, 1, 0], [1, 0, 0]], np.zeros((3, 3)), [[0, 0, 1], [0] * 3, [0] * 3]]
    sums = np.sum(one_hot, 1)
    expected = {
        "one_hot": one_hot,
        "multi_hot": np.minimum(sums, 1),
        "count": sums,
        "tf_idf": sums * [1.25, *weights],
    }[mode]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == "float32"
    spec = layer(carnyx.KerasTensor((None,), "string")).shape
    assert spec == ((None, None, 3) if mode == "one_hot" else (None, 3))


def test_weights_of_documents():
    layer = vectorised(output_mode="tf_idf", data=["a b", "a c a"])
    a, b, c = (np.log(1 + 2 / (1 + n)) for n in (2, 1, 1))
    assert layer.get_vocabulary() == ["[UNK]", "a", "c", "b"]
    expected = [[np.mean([a, b, c]), 2 * a, 0, 0], [0, 0, c, b]]
    np.testing.assert_allclose(layer(["a a q", "b c"]), expected, rtol=1e-6)


def test_many_texts_are_as_each_alone():
    paragraphs = [p for text in topics.values() for p in text.split("\n\n")][:700]
    whole = vectorised(data=paragraphs, max_tokens=500)
    by_batch = layers.TextVectorization(max_tokens=500)
    by_batch.adapt(iter(np.array_split(np.array(paragraphs, object), 9)))
    assert by_batch.get_vocabulary() == whole.get_vocabulary()
    ids = np.asarray(whole(paragraphs))
    counts = layers.TextVectorization(
        vocabulary=whole.get_vocabulary(False), output_mode="count", max_tokens=500
    )(paragraphs)
    for i in range(0, 700, 50):
        alone = np.asarray(whole(paragraphs[i : i + 1]))[0]
        np.testing.assert_array_equal(ids[i], np.pad(alone, (0, ids.shape[1] - len(alone))))
        np.testing.assert_array_equal(counts[i], np.bincount(alone, minlength=500)[1:])


def test_functions_of_ones_own():
    def reverse(texts):
        return np.array([text[::-1] for text in texts])

    def at_commas(texts):
        return [text.split(",") for text in texts]

    layer = vectorised(standardize=reverse, split=at_commas, data=["1b,b,2", "b"])
    assert layer.get_vocabulary() == ["", "[UNK]", "b", "b1", "2"]
    assert layer([["1b,2"], ["b"]]).tolist() == [[4, 3], [2, 0]]


def test_bytes_are_read_in_an_encoding():
    layer = layers.TextVectorization(vocabulary=["é", "a"], encoding="latin-1")
    assert layer(["é a".encode("latin-1")]).tolist() == [[2, 3]]


@pytest.mark.parametrize("mode", ["int", "count"])
def test_empty_batches(mode):
    layer = layers.TextVectorization(vocabulary=["a"], output_mode=mode)
    for empty in ([], np.zeros(0, "U1"), np.zeros((0, 1), object)):
        assert layer(empty).shape == (0, 0 if mode == "int" else 2)
    assert layer(["", "  "]).tolist() == ([[], []] if mode == "int" else [[0, 0], [0, 0]])
    words = layers.TextVectorization(vocabulary=["a"], output_mode=mode, split=None)
    assert words(np.zeros((3, 0), "U1")).shape == (3, 0 if mode == "int" else 2)


def test_documented_examples():
    layer = vectorised(max_tokens=5000, output_sequence_length=4, data=DOCUMENTED)
    assert layer([["foo qux bar"], ["qux baz"]]).tolist() == [[2, 1, 4, 0], [1, 3, 0, 0]]
    given = layers.TextVectorization(
        max_tokens=5000, output_sequence_length=4, vocabulary=["earth", "wind", "and", "fire"]
    )
    assert given.get_vocabulary() == ["", "[UNK]", "earth", "wind", "and", "fire"]


def test_config_is_keras_own():
    # as Keras 3.15 prints it, which needs TensorFlow to make this layer
    layer = layers.TextVectorization(ngrams=2, vocabulary=["a", "b"], name="t")
    config = layer.get_config()
    assert config.pop("dtype")["config"] == {"name": "float32"}
    assert config == {
        "name": "t",
        "trainable": True,
        "max_tokens": None,
        "standardize": "lower_and_strip_punctuation",
        "split": "whitespace",
        "ngrams": 2,
        "output_mode": "int",
        "output_sequence_length": None,
        "pad_to_max_tokens": False,
        "sparse": False,
        "ragged": False,
        "vocabulary": ["a", "b"],
        "idf_weights": None,
        "encoding": "utf-8",
        "vocabulary_size": 4,
    }
    twin = deserialize(json.loads(json.dumps(serialize(layer))))
    assert twin.get_config() == layer.get_config()
    assert twin(["a b"]).tolist() == layer(["a b"]).tolist()


def test_assets(tmp_path):
    layer = vectorised(ngrams=(1, 2))
    layer.save_assets(tmp_path)
    twin = layers.TextVectorization.from_config(layer.get_config())
    twin.load_assets(tmp_path)
    assert twin.get_vocabulary() == layer.get_vocabulary()
    assert twin(TEXTS).tolist() == layer(TEXTS).tolist()
    from_file = layers.TextVectorization(vocabulary=tmp_path / "vocabulary.txt", ngrams=(1, 2))
    assert from_file(TEXTS).tolist() == layer(TEXTS).tolist()


def test_texts_train_a_model():
    rng = np.random.default_rng(3)
    moods = {0: ["grim", "war", "rain"], 1: ["song", "feast", "sun"]}
    labels = rng.integers(0, 2, 64)
    texts = [" ".join(rng.choice(moods[y], 4)) + " the, horn." for y in labels.tolist()]
    vectors = vectorised(output_sequence_length=6, data=texts)
    model = carnyx.Sequential(
        [
            layers.Embedding(vectors.vocabulary_size(), 4),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(carnyx.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(vectors(texts), labels, epochs=5, verbose=0)
    assert history.history["accuracy"][-1] == 1


VECTORS = layers.TextVectorization


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VECTORS(max_tokens=2), "max_tokens must be a whole number from 3"),
        (lambda: VECTORS(standardize="upper"), "standardize must be one of"),
        (lambda: VECTORS(split="word"), "split must be one of"),
        (lambda: VECTORS(ngrams=0), "ngrams must be whole numbers from 1"),
        (lambda: VECTORS(ngrams=()), "ngrams must be whole numbers from 1"),
        (lambda: VECTORS(ngrams="ab"), "ngrams must be whole numbers from 1"),
        (lambda: VECTORS(output_sequence_length=0), "must be a whole number from 1"),
        (
            lambda: VECTORS(output_sequence_length=3, output_mode="count"),
            "output_sequence_length must be None but for output_mode='int'",
        ),
        (lambda: VECTORS(ragged=True), "ragged must be False"),
        (lambda: VECTORS(sparse=True), "sparse must be False"),
        (lambda: VECTORS(vocabulary=["", "[UNK]", "a"], output_mode="count"), "lie inside"),
        (lambda: VECTORS()(["a"]), "there is no vocabulary yet"),
        (lambda: VECTORS().adapt(["", "..."]), "was given no data"),
        (lambda: VECTORS(vocabulary=["a"]).adapt(["b"]), "was given its vocabulary"),
        (lambda: VECTORS(vocabulary=["a"])([["a", "b"]]), r"texts of shape \[B\] or \[B, 1\]"),
        (lambda: VECTORS(vocabulary=["a"])([1, 2]), "takes strings; received int"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_model_begins_with_texts():
    texts = np.array(["a fine horn", "a dull drum"])
    vectors = VECTORS(output_sequence_length=3)
    vectors.adapt(texts)
    model = carnyx.Sequential([carnyx.Input((), dtype="string"), vectors, layers.Embedding(9, 4)])
    for given in (texts, texts[:, None]):
        np.testing.assert_allclose(model(given), model.layers[-1](vectors(texts)))
        np.testing.assert_allclose(model.predict(given, verbose=0), model(given))
