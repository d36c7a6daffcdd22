"""Callbacks that show or swap: TensorBoard read back, RemoteMonitor's server, averaged weights."""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer

import keras
import numpy as np
import pytest

import carnyx
from carnyx import callbacks, layers

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = X.sum(1, keepdims=True)


def model(library=carnyx, **options):
    made = library.Sequential([library.Input((4,)), library.layers.Dense(1, name="only")])
    made.compile(library.optimizers.SGD(0.1, **options), "mse", metrics=["mae"])
    made.set_weights([np.ones((4, 1), "float32"), np.zeros(1, "float32")])
    return made


def events(folder):
    """{tag: [(step, plugin, value)]} of one run."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found = {}
    for path in folder.iterdir():
        for event in EventFileLoader(str(path)).Load():
            for v in event.summary.value:
                plugin = v.metadata.plugin_data.plugin_name
                found.setdefault(v.tag, []).append((event.step, plugin, make_ndarray(v.tensor)))
    return found


def test_tensorboard_writes_what_its_package_reads(tmp_path):
    board = callbacks.TensorBoard(
        tmp_path, histogram_freq=1, write_images=True, update_freq=2, write_steps_per_second=True
    )
    net = model()
    history = net.fit(
        X, Y, batch_size=16, epochs=2, verbose=0, validation_data=(X, Y), callbacks=[board]
    ).history
    train, held_out = events(tmp_path / "train"), events(tmp_path / "validation")
    for name in ("loss", "mae"):
        for run, key in ((train, name), (held_out, f"val_{name}")):
            steps, plugins, values = zip(*run[f"epoch_{name}"], strict=True)
            assert steps == (0, 1) and set(plugins) == {"scalars"}
            np.testing.assert_allclose(values, history[key], rtol=1e-6)
        assert [step for step, _, _ in train[f"batch_{name}"]] == [2, 4, 6, 8]
        assert [s for s, _, _ in held_out[f"evaluation_{name}_vs_iterations"]] == [4, 8]
    np.testing.assert_allclose([v for _, _, v in train["epoch_learning_rate"]], 0.1, rtol=1e-6)
    assert all(v > 0 for _, _, v in train["epoch_steps_per_second"])
    path = net.trainable_variables[0].path
    counts = train[f"{path}/histogram"][-1][2][:, 2]
    assert counts.sum() == 4 and train[f"{path}/histogram"][0][1] == "histograms"
    (_, plugin, picture) = train[f"{path}/image"][0]
    assert plugin == "images" and picture[0] == b"1" and picture[1] == b"4"
    assert picture[2].startswith(b"\x89PNG")


def test_tensorboard_reads_the_graph(tmp_path):
    from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def

    net = model()
    board = callbacks.TensorBoard(tmp_path)
    net.fit(X, Y, verbose=0, callbacks=[board])
    ((_, plugin, text),) = events(tmp_path / "train")["keras"]
    assert plugin == "graph_keras_model"
    graph = keras_model_to_graph_def(json.loads(text.item()))
    assert {"Dense"} <= {node.attr["keras_class"].s.decode() for node in graph.node}


def test_tensorboard_profiles_and_projects(tmp_path):
    net = carnyx.Sequential([layers.Embedding(5, 3, name="words"), layers.Flatten()])
    net.add(layers.Dense(1))
    net.compile("sgd", "mse")
    board = callbacks.TensorBoard(
        tmp_path, profile_batch=(2, 3), embeddings_freq=1, embeddings_metadata="words.tsv"
    )
    net.fit(np.arange(40).reshape(20, 2) % 5, np.ones(20), 4, verbose=0, callbacks=[board])
    assert list((tmp_path / "plugins" / "profile").glob("*/*"))
    table = np.loadtxt(tmp_path / "words-0.tsv", delimiter="\t")
    np.testing.assert_allclose(table, net.layers[0].embeddings.numpy(), rtol=1e-5)
    assert 'tensor_path: "words-0.tsv"' in (tmp_path / "projector_config.pbtxt").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"update_freq": "never"}, "update_freq is 'epoch', 'batch' or a number"),
        ({"profile_batch": (3, 2)}, "profile_batch is a batch from 1, a pair"),
    ],
)
def test_tensorboard_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        callbacks.TensorBoard(**options)


@pytest.mark.parametrize("as_json", [True, False])
def test_remote_monitor_posts_the_logs(as_json):
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.append((self.path, self.headers["Content-Type"], self.headers["X-Key"], text))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        monitor = callbacks.RemoteMonitor(root, headers={"X-Key": "k"}, send_as_json=as_json)
        history = model().fit(X, Y, epochs=2, verbose=0, callbacks=[monitor]).history
        server.shutdown()
    for epoch, (path, kind, key, text) in enumerate(seen):
        body = text if as_json else dict(urllib.parse.parse_qsl(text))["data"]
        logs = {name: values[epoch] for name, values in history.items()}
        assert json.loads(body) == {"epoch": epoch, **logs}
        assert path == "/publish/epoch/end/" and key == "k" and ("json" in kind) == as_json
    assert len(seen) == 2


def test_remote_monitor_goes_on_without_a_server():
    with pytest.warns(UserWarning, match="cannot reach http://127.0.0.1:9"):
        model().fit(X, Y, verbose=0, callbacks=[callbacks.RemoteMonitor("http://127.0.0.1:9")])
    with pytest.raises(ValueError, match=r"an http\(s\) address"):
        callbacks.RemoteMonitor("file:///etc")


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_averaged_weights_are_swapped_as_in_keras(swap_on_epoch):
    found = []
    for library in (carnyx, keras):
        net = model(library, use_ema=True, ema_momentum=0.7)
        kept = []
        swap = library.callbacks.SwapEMAWeights(swap_on_epoch)
        look = library.callbacks.LambdaCallback(
            on_epoch_end=lambda e, logs, net=net, kept=kept: kept.append(net.get_weights()[0])
        )
        history = net.fit(
            X, Y, epochs=3, verbose=0, shuffle=False, validation_data=(X, Y), callbacks=[swap, look]
        ).history
        found.append([*kept, net.get_weights()[0], history["val_loss"], history["loss"]])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5)


def test_averaged_weights_need_an_optimizer_that_keeps_them():
    with pytest.raises(ValueError, match="use_ema=True"):
        model().fit(X, Y, verbose=0, callbacks=[callbacks.SwapEMAWeights()])
