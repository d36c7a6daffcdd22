"""Every kind of data source: the same batches, weights, remainders and errors as plain arrays."""

from __future__ import annotations

import importlib
import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx.data import ahead
from carnyx.data.adapters import adapt, split
from carnyx.data.ahead import ReadAhead
from carnyx.data.streams import StreamSource
from carnyx.utils import PyDataset, Sequence

ROWS, SIZE = 10, 4  # two whole batches and one of two rows
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
Y = np.arange(ROWS, dtype="float32")[:, None]
PARTS = [slice(i, i + SIZE) for i in range(0, ROWS, SIZE)]


@dataclass(frozen=True)
class Missing:
    """A library that an environment may lack: what is not tested then, and why that is so."""

    library: str
    why: str

    def __str__(self) -> str:
        return f"{self.library} is not installed, so its sources are not tested here: {self.why}"


MISSING = {
    m.library: m
    for m in (
        Missing("torch", "700 MB; `make bench` installs it"),
        Missing("tensorflow", "1.3 GB; `make bench` installs it"),
        Missing("polars", "it comes with the `test` extra"),
        Missing("pyarrow", "it comes with the `test` extra"),
        Missing("grain", "it comes with the `test` extra"),
        Missing("datasets", "it comes with the `test` extra"),
    )
}


def library(name: str) -> Any:
    """The library, or a skip with the declared reason."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(str(MISSING[name]))
    return importlib.import_module(name)


# ---- the table: name -> the arguments of fit for (X, Y), batches of SIZE


def pandas() -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=["a", "b", "c"]), pd.Series(Y[:, 0])


def polars() -> Any:
    pl = library("polars")
    return pl.DataFrame({f"c{i}": X[:, i] for i in range(3)}), pl.Series(Y[:, 0])


def arrow() -> Any:
    pa = library("pyarrow")
    table = pa.table({f"c{i}": X[:, i] for i in range(3)})
    return table, pa.chunked_array([Y[:6, 0], Y[6:, 0]])


def arrow_batch() -> Any:
    pa = library("pyarrow")
    return pa.record_batch({f"c{i}": X[:, i] for i in range(3)}), pa.array(Y[:, 0])


def torch_tensors() -> Any:
    torch = library("torch")
    return torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y)


def tensorflow_tensors() -> Any:
    tf = library("tensorflow")
    return tf.constant(X), tf.Variable(Y)


def memmap(folder: Any) -> Any:
    np.save(folder / "x.npy", X.astype("float64"))
    return np.load(folder / "x.npy", mmap_mode="r"), Y


def hdf5(folder: Any) -> Any:
    import h5py

    file = h5py.File(folder / "data.h5", "w")
    return file.create_dataset("x", data=X), file.create_dataset("y", data=Y)


def huggingface() -> Any:
    table = library("datasets").Dataset.from_dict({"x": X, "y": Y[:, 0]})
    return table["x"], table["y"]


def batches() -> Iterator[Any]:
    for part in PARTS:
        yield X[part], Y[part]


class Batches(PyDataset):
    def __len__(self) -> int:
        return len(PARTS)

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.002 * (len(PARTS) - index))  # later ones are ready first
        return X[PARTS[index]], Y[PARTS[index]]


def torch_loader(**arguments: Any) -> Any:
    data = library("torch").utils.data
    return data.DataLoader(data.TensorDataset(*torch_tensors()), batch_size=SIZE, **arguments)


def tf_data() -> Any:
    return library("tensorflow").data.Dataset.from_tensor_slices((X, Y)).batch(SIZE)


def grain_map() -> Any:
    grain = library("grain")
    return grain.MapDataset.source(list(zip(X, Y, strict=True))).batch(SIZE)


def grain_loader() -> Any:
    grain = library("grain")
    return grain.DataLoader(
        data_source=list(zip(X, Y, strict=True)),  # type: ignore[arg-type]
        sampler=grain.samplers.SequentialSampler(ROWS),
        operations=[grain.transforms.Batch(SIZE, drop_remainder=False)],
        worker_count=0,
    )


def own() -> Any:
    from carnyx.data.dataset import Dataset

    return Dataset.of_samples(list(zip(X, Y, strict=True)), SIZE)


ARRAYS: dict[str, Callable[..., Any]] = {
    "numpy": lambda: (X, Y),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "jax": lambda: (jnp.asarray(X), jnp.asarray(Y)),
    "pandas": pandas,
    "polars": polars,
    "arrow": arrow,
    "arrow batch": arrow_batch,
    "torch": torch_tensors,
    "tensorflow": tensorflow_tensors,
}
STORED: dict[str, Callable[..., Any]] = {
    "memmap": memmap,
    "hdf5": hdf5,
    "huggingface": lambda _: huggingface(),
}
STREAMS: dict[str, Callable[..., Any]] = {
    "generator function": lambda: batches,
    "PyDataset": lambda: Batches(),
    "PyDataset, threads": lambda: Batches(workers=3, max_queue_size=2),
    "torch DataLoader": torch_loader,
    "tf.data": tf_data,
    "grain map": grain_map,
    "grain iter": lambda: grain_map().to_iter_dataset(),
    "grain DataLoader": grain_loader,
    "own dataset": own,
}


def arguments(kind: str, folder: Any) -> dict[str, Any]:
    """What `adapt` and `fit` get for a row of the tables."""
    if kind in STREAMS:
        return {"x": STREAMS[kind](), "shuffle": False}
    x, y = ARRAYS[kind]() if kind in ARRAYS else STORED[kind](folder)
    return {"x": x, "y": y, "batch_size": SIZE, "shuffle": False}


def taken(source: Any, epoch: int = 0) -> list[Any]:
    """An epoch's batches as the loop gathers them."""
    return [
        jax.tree.map(lambda a, s=s, i=i: a[s.order[i * s.batch_size :][: s.batch_size]], s.data)
        for s in source.segments(epoch)
        for i in range(s.steps)
    ]


every_kind = pytest.mark.parametrize("kind", [*ARRAYS, *STORED, *STREAMS])


@every_kind
def test_batches_and_remainder_are_those_of_arrays(kind: str, tmp_path: Any) -> None:
    source = adapt(**arguments(kind, tmp_path))
    for epoch in range(2):  # and again in the next epoch
        found = taken(source, epoch)
        assert [len(x) for x, _, _ in found] == [4, 4, 2]
        for (x, y, weight), part in zip(found, PARTS, strict=True):
            assert isinstance(x, np.ndarray) and x.dtype == y.dtype == np.float32
            np.testing.assert_array_equal(x, X[part])
            np.testing.assert_array_equal(y, Y[part])
            assert weight is None
    sized = kind not in ("generator function", "grain iter", "grain DataLoader")
    assert source.steps == (3 if sized else None)


def small_model() -> Any:
    carnyx.utils.set_random_seed(3)
    model = carnyx.Sequential([carnyx.Input((3,)), carnyx.layers.Dense(1)])
    model.compile(carnyx.optimizers.SGD(0.01), "mse")
    return model


@pytest.fixture(scope="module")
def trained() -> Any:
    """(the model, its first weights, then weights, loss, predictions after two epochs on arrays).

    One model for all kinds: what it compiled for one serves the others.
    """
    model = small_model()
    first = model.get_weights()
    history = model.fit(X, Y, batch_size=SIZE, shuffle=False, epochs=2, verbose=0)
    return model, first, model.get_weights(), history.history["loss"], model.predict(X, verbose=0)


@every_kind
def test_training_is_that_on_arrays(kind: str, tmp_path: Any, trained: Any) -> None:
    model, first, weights, loss, predicted = trained
    given = arguments(kind, tmp_path)
    model.set_weights(first)
    history = model.fit(**given, epochs=2, verbose=0)
    for found, wanted in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert history.history["loss"] == loss
    given.pop("shuffle")
    assert model.evaluate(**given, verbose=0) == pytest.approx(np.mean((predicted - Y) ** 2))
    given.pop("y", None)
    np.testing.assert_allclose(model.predict(**given, verbose=0), predicted, rtol=1e-6)


@pytest.mark.parametrize("kind", list(STREAMS))
def test_streams_take_no_targets_beside_them(kind: str) -> None:
    with pytest.raises(ValueError, match="y came beside a generator"):
        adapt(STREAMS[kind](), Y)
    with pytest.raises(ValueError, match="validation_split needs arrays"):
        split(STREAMS[kind](), None, None, 0.2)


@pytest.mark.parametrize("kind", [*ARRAYS, *STORED])
def test_unequal_lengths_are_refused_everywhere(kind: str, tmp_path: Any) -> None:
    x = arguments(kind, tmp_path)["x"]
    with pytest.raises(ValueError, match=r"x has 10 samples and y has 9\. Expected one entry"):
        adapt(x, Y[:9])


@pytest.mark.parametrize("kind", [*ARRAYS, *STORED])
def test_splits_shuffling_and_steps_are_those_of_arrays(kind: str, tmp_path: Any) -> None:
    given = arguments(kind, tmp_path)
    for shuffle in (True, "batch"):
        wanted = adapt(X, Y, batch_size=3, shuffle=shuffle, seed=5, steps_per_epoch=3)
        found = adapt(
            given["x"], given["y"], batch_size=3, shuffle=shuffle, seed=5, steps_per_epoch=3
        )
        assert str(taken(found)) == str(taken(wanted))
    train, held_out = split(given["x"], given["y"], None, 0.3)
    source = adapt(*held_out, batch_size=2, validation=True)
    np.testing.assert_array_equal(np.concatenate([y for _, y, _ in taken(source)]), Y[7:])
    assert len(adapt(*train).peek()[0]) == 7


# ---- tables


def test_dict_of_columns_is_a_dict_of_inputs() -> None:
    for table in (pandas, polars, arrow):
        frame, y = table()
        names = frame.column_names if table is arrow else list(frame.columns)
        x, _, _ = adapt({name: frame[name] for name in names}, y).peek()
        assert list(x) == list(names)
        np.testing.assert_array_equal(x[names[1]], X[:, 1:2])


def test_pandas_is_read_as_keras_reads_it() -> None:
    import pandas as pd
    from keras.src.trainers.epoch_iterator import EpochIterator

    frame = pd.DataFrame({"a": np.arange(5), "b": np.arange(5.0), "c": [True, False] * 2 + [True]})
    (x, y), *_ = next(iter(EpochIterator(frame, frame["a"], batch_size=5)._enumerate_iterator()))[2]
    ours = adapt(frame, frame["a"], batch_size=5).peek()
    np.testing.assert_array_equal(ours[0], np.asarray(x, "float32"))
    np.testing.assert_array_equal(ours[1], y)


def test_columns_of_lists_become_rows() -> None:
    import pandas as pd

    frame = pd.DataFrame({"n": [1, 2], "v": [[1.0, 2.0], np.array([3.0, 4.0])]})
    assert adapt(frame).peek()[0].tolist() == [[1, 1, 2], [2, 3, 4]]
    pa, pl = library("pyarrow"), library("polars")
    assert adapt(pa.array([[1, 2], [3, 4]])).peek()[0].tolist() == [[1, 2], [3, 4]]
    assert adapt(pl.Series([[1, 2], [3, 4]])).peek()[0].tolist() == [[1, 2], [3, 4]]


def refused_tables() -> list[tuple[Callable[[], Any], str]]:
    import pandas as pd

    def pl(value: Any) -> Any:
        return library("polars").Series("s", value)

    def hf(**columns: Any) -> Any:
        return library("datasets").Dataset.from_dict(columns)

    def splits() -> Any:
        return library("datasets").DatasetDict({"train": hf(a=[1])})

    def ragged() -> Any:
        return library("tensorflow").ragged.constant([[1], [2, 3]])

    return [
        (lambda: pd.DataFrame({"a": [1, 2], "b": ["u", "v"]}), r"x\['b'\] has the type \S+, where"),
        (lambda: pd.Series(["u", "v"], dtype="category"), r"x has the type category.*cat\.codes"),
        (lambda: pd.Series([1, None], dtype="Int64"), "x has NaN in row 1"),
        (lambda: pd.Series([[1], [1, 2]]), r"x has rows of different lengths.*pad_sequences"),
        (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of one name"),
        (lambda: pd.DataFrame(index=[1, 2]), "x is a table without columns"),
        (lambda: pd.Series(pd.to_datetime(["2020-01-01"])), "x has the type datetime64"),
        (lambda: pl(["u"]), "x has the type String"),
        (lambda: pl([1, None]), "x has NaN in row 1"),
        (lambda: library("polars").LazyFrame({"a": [1]}), r"LazyFrame.*\.collect\(\)"),
        (lambda: library("pyarrow").array(["u"]), "x has the type string"),
        (lambda: library("pyarrow").array([True, None]), "x has NaN in row 1"),
        (lambda: hf(a=["u", "v"]), r"x\['a'\] holds <U1 .*remove_columns\('a'\)"),
        (lambda: hf(a=[[1], [1, 2]]), r"x\['a'\] has rows of different shapes"),
        (splits, r"x is a DatasetDict with the splits \['train'\].*data\['train'\]"),
        (ragged, r"x is a RaggedTensor.*\.to_tensor\(\)"),
    ]


@pytest.mark.parametrize("number", range(16))
def test_refused_tables(number: int) -> None:
    make, message = refused_tables()[number]
    with pytest.raises((ValueError, TypeError), match=message):
        taken(adapt(make(), batch_size=2))


def test_huggingface_tables_are_dicts_of_inputs() -> None:
    table = library("datasets").Dataset.from_dict({"a": X, "b": [1, 2] * 5})
    x, _, _ = adapt(table, batch_size=4).peek()
    assert x["a"].shape == (4, 3) and x["b"].tolist() == [[1], [2], [1], [2]]
    stream = table.to_iterable_dataset()
    found = taken(adapt(lambda: ((b["a"], b["b"]) for b in stream.batch(4)), steps_per_epoch=2))
    np.testing.assert_array_equal(found[1][0], X[4:8])
    assert [len(b["a"]) for b, _, _ in taken(adapt(stream.batch(4)))] == [4, 4, 2]
    with pytest.raises(ValueError, match=r"single number.*makes batches with \.batch\(32\)"):
        adapt(stream).peek()


def test_bfloat16_tensors_stay_what_they_are() -> None:
    torch = library("torch")
    x, _, _ = adapt(torch.tensor([[1.5], [2.0]], dtype=torch.bfloat16)).peek()
    assert x.dtype == "bfloat16" and x.tolist() == [[1.5], [2.0]]


# ---- rows in files


def test_files_are_read_by_index_and_never_whole(tmp_path: Any) -> None:
    import h5py

    class Watched:
        """An HDF5 data set that counts the rows it gives."""

        def __init__(self, dataset: Any) -> None:
            self.dataset, self.rows = dataset, []
            self.shape, self.dtype = dataset.shape, dataset.dtype

        def __getitem__(self, index: Any) -> Any:
            found = self.dataset[index]
            self.rows.append(len(found))
            return found

    Watched.__module__, Watched.__name__ = "h5py._hl.dataset", "Dataset"
    with h5py.File(tmp_path / "wide.h5", "w") as file:
        dataset = Watched(file.create_dataset("x", (2**21, 2**14), "f8", chunks=(8, 2**14)))
        source = adapt(dataset, batch_size=8, steps_per_epoch=2)  # 275 GB, were they read
        assert [len(x) for x, _, _ in taken(source)] == [8, 8]
    assert dataset.rows == [8, 8]


def test_class_weights_of_stored_labels(tmp_path: Any) -> None:
    np.save(tmp_path / "y.npy", np.arange(10) % 2)
    y = np.load(tmp_path / "y.npy", mmap_mode="r")
    source = adapt(X, y, batch_size=4, class_weight={0: 1.0, 1: 3.0})
    assert source.peek()[2].tolist() == [1, 3, 1, 3]


def test_arrays_are_put_on_the_device_once(trained: Any, monkeypatch: Any) -> None:
    model, first, *_ = trained
    model.set_weights(first)
    put, engine = [], model.executor.engine
    original = engine.put

    def counted(array: Any) -> Any:
        if np.shape(array) == X.shape and isinstance(array, np.ndarray):
            put.append(array)
        return original(array)

    monkeypatch.setattr(engine, "put", counted)
    model.fit(X, Y, batch_size=SIZE, epochs=3, verbose=0)
    assert len(put) == 1


def test_arrays_too_large_for_the_device_are_gathered_by_the_host(monkeypatch: Any) -> None:
    for shuffle in (False, True):
        resident = adapt(X, Y, batch_size=SIZE, shuffle=shuffle, seed=2)
        monkeypatch.setattr("carnyx.data.rows.resident_limit", lambda: X.nbytes)
        streamed = adapt(X, Y, batch_size=SIZE, shuffle=shuffle, seed=2)
        monkeypatch.undo()
        assert isinstance(streamed, StreamSource) and not isinstance(resident, StreamSource)
        assert str(taken(streamed)) == str(taken(resident))
        assert streamed.steps == resident.steps == 3
    with pytest.raises(ValueError, match="x has NaN in row 0"):
        monkeypatch.setattr("carnyx.data.rows.resident_limit", lambda: 0)
        adapt(np.full((3, 3), np.nan))


# ---- PyDataset


class Watched(Batches):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.events: list[Any] = []

    def on_epoch_begin(self) -> None:
        self.events.append("begin")

    def on_epoch_end(self) -> None:
        self.events.append("end")

    def __getitem__(self, index: int) -> Any:
        self.events.append(index)
        return super().__getitem__(index)


def test_hooks_surround_each_epoch() -> None:
    data = Watched()
    small_model().fit(data, epochs=2, shuffle=False, verbose=0)
    assert data.events == ["begin", 0, 1, 2, "end"] * 2
    data = Watched()
    with pytest.warns(UserWarning, match="ended after 1 of 2"):
        small_model().fit(data, epochs=3, shuffle=False, steps_per_epoch=2, verbose=0)
    assert data.events == ["begin", 0, 1, "end", "begin", 2, "end", "begin", 0, 1, "end"]


def test_fit_shuffles_the_batches_of_a_pydataset() -> None:
    data = Watched()
    source = adapt(data, shuffle=True, seed=1)
    orders = [[int(y[0, 0]) // SIZE for _, y, _ in taken(source, e)] for e in range(4)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len({str(order) for order in orders}) > 1


def test_sequence_is_pydataset_and_may_forget_to_call_init() -> None:
    class Old(Sequence):
        def __init__(self) -> None:
            self.parts = PARTS

        __len__, __getitem__ = Batches.__len__, Batches.__getitem__

    assert Sequence is PyDataset
    assert len(taken(adapt(Old()))) == 3


class Endless(PyDataset):
    num_batches = None  # type: ignore[assignment]

    def __getitem__(self, index: int) -> Any:
        return np.full((2, 3), index), np.full((2, 1), index)


def test_endless_datasets_go_on_and_need_a_number_of_steps() -> None:
    source = adapt(Endless(workers=2), steps_per_epoch=2)
    assert [int(y[0, 0]) for e in range(2) for _, y, _ in taken(source, e)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="'Endless' never ends.*steps_per_epoch=..."):
        adapt(Endless())
    with pytest.raises(ValueError, match="tf.data.Dataset never ends.*steps=..."):
        adapt(tf_data().repeat(), where="predict")


class Failing(Batches):
    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise KeyError("no such picture")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_a_dataset_arrive_with_the_batch(workers: int) -> None:
    with pytest.raises(KeyError, match="no such picture") as caught:
        taken(adapt(Failing(workers=workers)))
    assert caught.value.__notes__ == ["in Failing.__getitem__(1)"]


def test_incomplete_datasets_say_what_they_lack() -> None:
    with pytest.raises(NotImplementedError, match="PyDataset has no __len__"):
        adapt(PyDataset())
    with pytest.raises(ValueError, match="workers is a whole number from 0. Received: -1"):
        Batches(workers=-1)


def test_worker_processes_give_the_same_batches() -> None:
    """In a program of its own: workers must be able to import where the class is defined."""
    from tests.data_in_processes import Numbers

    source = adapt(Numbers(workers=2, use_multiprocessing=True))
    found = taken(source) + taken(source, 1)
    assert [int(y[0]) for _, y, _ in found] == [0, 1, 2, 3] * 2
    assert len({int(x[0, 0]) for x, _, _ in found}) <= 2  # process ids: workers live on
    assert int(found[0][0][0, 0]) != __import__("os").getpid()

    class Local(Batches):
        pass

    with pytest.raises(TypeError, match="Local cannot be sent to worker processes.*threads"):
        taken(adapt(Local(use_multiprocessing=True)))


# ---- reading ahead


def test_the_next_batch_is_made_while_the_last_one_is_worked_on() -> None:
    """Without reading ahead, waiting here for the next batch to be begun would never end."""
    begun = [threading.Event() for _ in range(8)]

    def generator() -> Iterator[Any]:
        for i, event in enumerate(begun):
            event.set()
            yield np.full((2, ahead.CHUNK_BYTES // 8), i, "float32")  # a segment each

    source, seen = adapt(generator()), []
    for segment in source.segments(0):
        seen.append(int(segment.data[0][0, 0]))
        assert begun[min(seen[-1] + 1, 7)].wait(timeout=20)
    assert seen == list(range(8))
    assert isinstance(source, StreamSource) and source.waited > 0


def test_training_reads_ahead_while_a_step_runs() -> None:
    """Batches are asked for while the device is inside a compiled call."""
    model = carnyx.Sequential([carnyx.Input((700,)), *[carnyx.layers.Dense(700)] * 1])
    model.add(carnyx.layers.Dense(1))
    model.compile("sgd", "mse")
    executor, inside, overlapping = model.executor, threading.Event(), []

    def generator() -> Iterator[Any]:
        for _ in range(60):
            overlapping.append(inside.is_set())
            yield np.zeros((512, 700), "float32"), np.zeros((512, 1), "float32")

    def watched(run: Any) -> Any:
        def call(*arguments: Any) -> Any:
            inside.set()
            try:
                return run(*arguments)
            finally:
                inside.clear()

        return call

    executor.run = watched(executor.run)  # type: ignore[method-assign]
    model.fit(generator(), verbose=0)
    assert sum(overlapping) >= 10  # none, were batches made between the calls


def test_small_batches_of_one_form_share_a_call() -> None:
    batch = (np.ones((2, 3), "int64"), None, None)
    ready = ReadAhead(iter([batch] * 50))
    ready._thread.join()  # 50 fit into the two chunks that may wait
    found = list(ready)
    assert [segment.steps for segment in found] == [32, 18]
    assert found[0].data[0].shape == found[1].data[0].shape == (64, 3)
    assert found[0].data[0].dtype == "int32"


def test_large_batches_and_new_forms_make_segments_of_their_own() -> None:
    large = (np.ones((2, ahead.CHUNK_BYTES // 8), "float32"), None, None)
    assert [s.data[0] is large[0] for s in ReadAhead(iter([large] * 3))] == [True] * 3
    small = [(np.ones((rows, 3), "float32"), None, None) for rows in (2, 2, 1, 2)]
    found = [(s.batch_size, s.steps) for s in ReadAhead(iter(small))]
    assert [size for size, steps in found for _ in range(steps)] == [2, 2, 1, 2]


def test_reading_stops_at_two_chunks_and_when_closed() -> None:
    given: list[int] = []

    def endless() -> Iterator[Any]:
        while True:
            given.append(1)
            yield np.ones((2, ahead.CHUNK_BYTES // 8), "float32"), None, None

    reader = ReadAhead(endless())
    time.sleep(0.1)
    assert len(given) == ahead.DEPTH + 1
    reader.close()
    assert not reader._thread.is_alive() and list(reader) == []


def test_an_epoch_never_reads_the_next_ones_batches() -> None:
    given: list[int] = []

    def endless() -> Iterator[Any]:
        while True:
            given.append(len(given))
            yield np.full((1, 1), given[-1], "float32")

    source = adapt(endless(), steps_per_epoch=3)
    for epoch in range(3):
        assert [int(x[0, 0]) for x, _, _ in taken(source, epoch)] == given[3 * epoch :]


def test_errors_come_where_their_batch_would() -> None:
    def broken() -> Iterator[Any]:
        yield np.ones((2, 3)), np.ones((2, 1))
        raise OSError("the disk is gone")

    source, seen = adapt(broken()), 0
    with pytest.raises(OSError, match="the disk is gone"):
        for segment in source.segments(0):
            seen += segment.steps
    assert seen == 1


def test_no_thread_is_left_after_training() -> None:
    stop = carnyx.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", True)
    )
    model = small_model()
    model.fit(Endless(), steps_per_epoch=1000, callbacks=[stop], verbose=0)
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("carnyx-read-ahead")]
