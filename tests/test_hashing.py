"""Hashes against published values and TensorFlow's, layers by loops and Keras's documented bins."""

import inspect
import struct

import jax
import keras
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.layers.hashes import buckets, crossed_buckets, fingerprints

# What `tf.fingerprint` (FarmHash's Fingerprint64) gives for the bytes 0, 1, ..., n - 1.
FARM = {
    0: 0x9AE16A3B2F90404F,
    1: 0xBE6056EDF5E94B54,
    2: 0xC2A04665ED038D75,
    3: 0x94A13D22E9EBA49A,
    4: 0x82BFFD898958E540,
    7: 0xA2E0BFF20DB0A6A1,
    8: 0xAD5A13E1E8E93B98,
    16: 0x0EFD25A0A34156D4,
    17: 0xBBB6A6F8F20D1F1C,
    32: 0x1A9D8199972CDF49,
    33: 0xE8756EC1CB75524E,
    64: 0xF58504BB53DECC4B,
    65: 0xC6A3282C3E793DBE,
    128: 0x1C484C95F0EA5DD3,
    129: 0xCE8BA3741121083E,
    200: 0x074C7FCC26D66FB3,
}
# Of SipHash's reference vectors, for the key and the bytes 0, 1, ...; 15 is the paper's.
SIP = {0: 0x726FDB47DD0E0E31, 1: 0x74F839C593DC67FD, 8: 0x93F5F5799A932462, 15: 0xA129CA6149BE45E5}
NUMBERS = [0, 1, -1, 9, 10, -10, 999, -999, 1000, 9999999, -9999999, 10**8, 2**31 - 1, -(2**31)]
ITEMS = ["0", "7", "-7", "12345678", "-2147483648", "", "a", "horn", "é" * 20]


def test_farmhash_is_tensorflows():
    found = fingerprints([bytes(range(n)) for n in FARM])
    assert dict(zip(FARM, found.tolist(), strict=True)) == FARM


def test_farmhash_is_the_one_that_databases_document():
    # BigQuery's documentation of FARM_FINGERPRINT
    found = fingerprints([b"1footrue", b"2applefalse", b"3true"]).astype("int64")
    assert found.tolist() == [-1541654101129638711, 2794438866806483259, -4880158226897771312]


def test_siphash_is_the_papers():
    key = struct.unpack("<2Q", bytes(range(16)))
    found = fingerprints([bytes(range(n)) for n in SIP], key)
    assert dict(zip(SIP, found.tolist(), strict=True)) == SIP


def test_buckets_are_tensorflows():
    # tf.strings.to_hash_bucket_fast and ..._strong
    fast = [537292, 929154, 985360, 470335, 345099, 377723, 291400, 379467, 120459]
    strong = [783236, 567016, 908849, 368224, 430916, 867739, 346779, 890568, 535072]
    for items in (np.array(ITEMS), np.array(ITEMS, object), np.char.encode(ITEMS, "utf-8")):
        assert buckets(items, 1000003).tolist() == fast
        assert buckets(items, 1000003, [-5, 2**40]).tolist() == strong
    numbers = np.array(ITEMS[:5]).astype("int64")
    assert buckets(numbers, 1000003).tolist() == fast[:5]


@pytest.mark.parametrize("key", [None, [-5, 2**40]])
def test_numbers_have_the_same_hash_in_a_program(key):
    values = np.array(NUMBERS, "int32").reshape(2, 7)
    counts = (3, 65537, 2**31 - 1)
    traced = jax.jit(lambda x: [buckets(x, n, key) for n in counts])(values)
    for n, found in zip(counts, traced, strict=True):
        np.testing.assert_array_equal(found, buckets(values, n, key))
        np.testing.assert_array_equal(found, buckets(values.astype(str), n, key))


def test_crossings_are_the_same_in_a_program():
    values = np.array(NUMBERS, "int32")
    traced = jax.jit(lambda a, b: crossed_buckets([a, b], 65537))(values, values[::-1])
    np.testing.assert_array_equal(traced, crossed_buckets([values, values[::-1]], 65537))
    assert len(set(np.asarray(traced).tolist())) > 10  # (a, b) and (b, a) differ


def test_documented_bins():
    letters = [["A"], ["B"], ["C"], ["D"], ["E"]]

    def bins(values, **arguments):
        return layers.Hashing(3, **arguments)(values).ravel().tolist()

    assert bins(letters) == [1, 0, 1, 1, 2]
    assert bins([["A"], ["B"], [""], ["C"], ["D"]], mask_value="") == [1, 1, 0, 2, 2]
    assert bins(letters, salt=[133, 137]) == [1, 2, 1, 0, 2]
    assert bins(letters, salt=133) == [0, 0, 2, 1, 0]
    crossing = layers.HashedCrossing(5)
    found = crossing((["A", "B", "A", "B", "A"], [101, 101, 101, 102, 102]))
    assert found.tolist() == [1, 4, 1, 1, 3]


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 1), (2, 2, 3), (0,), (0, 3)])
@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_modes_by_loops(shape, mode):
    rng = np.random.default_rng(1)
    words = rng.choice(["a", "b", "", "drum"], shape)
    layer = layers.Hashing(5, mask_value="b", output_mode=mode)
    ids = np.where(words == "b", 0, buckets(words, 4) + 1)
    if mode == "int":
        expected = ids
    else:
        rows = np.eye(5)[ids]
        if mode == "one_hot":
            expected = rows[..., 0, :] if len(shape) > 1 and shape[-1] == 1 else rows
        elif not shape:
            expected = rows
        else:
            expected = rows.any(-2) if mode == "multi_hot" else rows.sum(-2)
    found = layer(words)
    np.testing.assert_array_equal(found, expected)
    assert layer(carnyx.KerasTensor(shape, "string")).shape == found.shape
    assert found.dtype == ("int32" if mode == "int" else "float32")


def test_what_is_hashed():
    layer = layers.Hashing(1000)
    same = [layer(x).tolist() for x in (["12", "-3"], [b"12", b"-3"], [12, -3], [12.9, -3.9])]
    assert same == [same[0]] * 4
    assert layer(np.array([2**40]))[0] == buckets(np.array([str(2**40)]), 1000)[0]
    assert layers.Hashing(4, mask_value="é")(["é".encode(), "a"]).tolist()[0] == 0
    assert layers.Hashing(1, mask_value=7)([7, 8]).tolist() == [0, 0]


@pytest.mark.parametrize("engine", ["xla", "numpy"])
def test_numbers_are_hashed_inside_a_model(engine):
    a, b = carnyx.Input((1,), dtype="int32"), carnyx.Input((1,), dtype="int32")
    bins = layers.Hashing(6, salt=3, output_mode="one_hot")(a)
    crossed = layers.HashedCrossing(6, output_mode="one_hot")([a, b])
    model = carnyx.Model([a, b], layers.Concatenate()([bins, crossed]))
    model.compile(engine=engine)
    x = np.array([[5], [-70000], [123456789]], "int32")
    found = model.predict([x, x[::-1]], verbose=0)
    expected = layers.Hashing(6, salt=3)(x), layers.HashedCrossing(6)([x, x[::-1]])
    for part, ids in zip(np.split(found, 2, axis=1), expected, strict=True):
        np.testing.assert_array_equal(part, np.eye(6)[np.asarray(ids)[:, 0]])


def test_signatures_are_keras_own():
    for name in ("Hashing", "HashedCrossing", "StringLookup", "IntegerLookup", "TextVectorization"):
        ours, theirs = (
            [(p.name, p.default) for p in inspect.signature(getattr(m, name)).parameters.values()]
            for m in (layers, keras.layers)
        )
        assert ours == theirs


def test_configs_are_keras_own():
    # as Keras 3.15 prints them, which needs TensorFlow to make these layers
    config = layers.Hashing(3, salt=133, name="h").get_config()
    assert config.pop("dtype")["config"] == {"name": "int64"}
    assert config == {
        "name": "h",
        "trainable": True,
        "num_bins": 3,
        "salt": [133, 133],
        "mask_value": None,
        "output_mode": "int",
        "sparse": False,
    }
    assert layers.HashedCrossing(3, output_mode="one_hot", name="c").get_config() == {
        "num_bins": 3,
        "output_mode": "one_hot",
        "sparse": False,
        "name": "c",
        "dtype": "float32",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Hashing(0), "num_bins must be a whole number from 1"),
        (lambda: layers.Hashing(2**31), "num_bins must be at most 2147483647"),
        (lambda: layers.Hashing(3, salt="x"), "salt must be a whole number, two of them"),
        (lambda: layers.Hashing(3, output_mode="tf_idf"), "output_mode must be one of"),
        (lambda: layers.Hashing(3, dtype="float32"), "dtype must be 'int32' or 'int64'"),
        (lambda: layers.Hashing(3, sparse=True), "sparse must be False"),
        (lambda: layers.Hashing(3)([True]), "takes strings or whole numbers; received bool"),
        (lambda: layers.Hashing(3)([None]), "received objects such as None"),
        (lambda: layers.Hashing(3, mask_value="")([1]), "has mask_value=''; received ints"),
        (lambda: layers.HashedCrossing(3, output_mode="count"), "output_mode must be one of"),
        (lambda: layers.HashedCrossing(3)([["a"]]), "a list of two or more inputs"),
        (lambda: layers.HashedCrossing(3)([["a"], ["b", "c"]]), "have equal shapes"),
        (lambda: layers.HashedCrossing(3)([["a"], [1.5]]), "strings or whole numbers"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
