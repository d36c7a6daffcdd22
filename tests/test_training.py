"""compile, fit, evaluate, predict: against Keras, against NumPy, and against each other."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.callbacks import Callback, EarlyStopping, ModelCheckpoint
from carnyx.train import step as step_module

RNG = np.random.default_rng(3)
X = RNG.normal(size=(70, 6)).astype("float32")
LABELS = (X[:, 0] > 0).astype("int32") + (X[:, 1] > 0.5)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]


def classifier(**compile_arguments) -> carnyx.Model:
    model = carnyx.Sequential(
        [carnyx.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(3, "softmax")]
    )
    arguments = {
        "optimizer": "adam",
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
    }
    model.compile(**{**arguments, **compile_arguments})
    return model


def weights_of(model) -> list[np.ndarray]:
    return [np.array(w) for w in model.get_weights()]


def assert_close(a, b, tolerance=1e-6) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


# ---- against Keras


@pytest.mark.parametrize(
    "optimizer", ["sgd", "rmsprop", "adam", "adamw"], ids=["sgd", "rmsprop", "adam", "adamw"]
)
def test_fit_equals_keras(optimizer: str) -> None:
    import keras

    model = classifier(optimizer=optimizer)
    theirs = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    theirs.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    theirs.set_weights(model.get_weights())
    arguments = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    ours_log = model.fit(X, LABELS, validation_split=0.2, **arguments).history
    their_log = theirs.fit(X, LABELS, validation_split=0.2, **arguments).history
    assert list(ours_log) == list(their_log)
    for name in ours_log:
        np.testing.assert_allclose(ours_log[name], their_log[name], rtol=1e-5, atol=1e-6)
    assert_close(model.get_weights(), theirs.get_weights(), 1e-5)
    np.testing.assert_allclose(
        model.evaluate(X, LABELS, verbose=0), theirs.evaluate(X, LABELS, verbose=0), rtol=1e-5
    )
    np.testing.assert_allclose(
        model.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-6
    )


def test_weights_and_logs_of_several_outputs_equal_keras() -> None:
    import keras

    def build(k):
        a, b = k.Input((6,), name="a"), k.Input((6,), name="b")
        h = k.layers.Dense(4, activation="tanh", name="h")
        joined = k.layers.Concatenate(name="j")([h(a), h(b)])
        p = k.layers.Dense(3, activation="softmax", name="kind")(joined)
        q = k.layers.Dense(1, name="size")(joined)
        model = k.Model([a, b], [p, q])
        model.compile(
            "sgd",
            loss={"kind": "categorical_crossentropy", "size": "mse"},
            loss_weights={"kind": 1.0, "size": 0.3},
            metrics={"kind": ["accuracy"], "size": ["mae"]},
        )
        return model

    ours, theirs = build(carnyx), build(keras)
    ours.set_weights(theirs.get_weights())
    target = X[:, :1] * 2
    arguments = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    log = ours.fit([X, -X], [ONE_HOT, target], **arguments).history
    their_log = theirs.fit([X, -X], [ONE_HOT, target], **arguments).history
    assert set(log) == set(their_log)
    for name in log:
        np.testing.assert_allclose(log[name], their_log[name], rtol=1e-5, err_msg=name)
    assert_close(ours.get_weights(), theirs.get_weights(), 1e-5)


def test_sample_and_class_weights_equal_keras() -> None:
    import keras

    model = classifier(weighted_metrics=["accuracy"], metrics=None)
    theirs = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    theirs.compile("adam", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    theirs.set_weights(model.get_weights())
    weight = RNG.random(70).astype("float32")
    for extra in ({"sample_weight": weight}, {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}):
        arguments = {"batch_size": 32, "epochs": 2, "shuffle": False, "verbose": 0, **extra}
        log = model.fit(X, LABELS, **arguments).history
        their_log = theirs.fit(X, LABELS, **arguments).history
        for name in log:
            np.testing.assert_allclose(log[name], their_log[name], rtol=1e-5, err_msg=name)
    assert_close(model.get_weights(), theirs.get_weights(), 1e-5)


def test_weights_files_go_both_ways(tmp_path) -> None:
    import keras

    def build(k):
        return k.Sequential(
            [
                k.Input((5, 4)),
                k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True)),
                k.layers.GRU(3),
                k.layers.BatchNormalization(),
                k.layers.Dense(4),
                k.layers.Dense(2),
            ]
        )

    ours, theirs = build(carnyx), build(keras)
    x = RNG.normal(size=(3, 5, 4)).astype("float32")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-6)
    ours.set_weights([w + 0.1 for w in ours.get_weights()])
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-6)


def test_a_file_that_does_not_fit_changes_nothing(tmp_path) -> None:
    model = classifier()
    model.save_weights(tmp_path / "a.weights.h5")
    other = carnyx.Sequential([carnyx.Input((6,)), layers.Dense(8), layers.Dense(4)])
    before = weights_of(other)
    with pytest.raises(ValueError, match=r"layer 'dense_3' has weights of shapes \[\(8, 4\)"):
        other.load_weights(tmp_path / "a.weights.h5")
    assert_close(before, other.get_weights(), 0)


# ---- many steps per call


class EveryStep(Callback):
    """Keeps each step's logs; with `weights`, the weights too, which needs one step a call."""

    sees_only_logs = True

    def __init__(self) -> None:
        super().__init__()
        self.logs: list[dict] = []

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.logs.append(dict(logs))


class EveryWeight(EveryStep):
    sees_only_logs = False

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[np.ndarray] = []

    def on_train_batch_end(self, batch, logs=None) -> None:
        super().on_train_batch_end(batch, logs)
        self.weights.append(self.model.get_weights()[0].copy())


def test_steps_per_call_change_no_number() -> None:
    runs = {}
    for count in (1, 3, "auto"):
        carnyx.utils.set_random_seed(5)
        model = classifier(steps_per_execution=count)
        seen = EveryStep()
        model.fit(X, LABELS, batch_size=8, epochs=4, verbose=0, callbacks=[seen])
        runs[count] = (seen.logs, weights_of(model))
    for count in (3, "auto"):
        assert runs[1][0] == runs[count][0]
        assert_close(runs[1][1], runs[count][1], 0)


def test_a_callback_sees_the_weights_of_its_step() -> None:
    carnyx.utils.set_random_seed(5)
    model, seen = classifier(), EveryWeight()
    model.fit(X, LABELS, batch_size=16, epochs=2, verbose=0, shuffle=False, callbacks=[seen])
    carnyx.utils.set_random_seed(5)
    carnyx.utils.clear_session()
    twin = classifier()
    for index in range(10):
        rows = slice(index % 5 * 16, index % 5 * 16 + 16)
        twin.train_on_batch(X[rows], LABELS[rows])
        np.testing.assert_allclose(seen.weights[index], twin.get_weights()[0], rtol=1e-6, atol=1e-7)


def test_a_signature_is_traced_once(monkeypatch) -> None:
    traced = []
    original = step_module.trace_step
    monkeypatch.setattr(
        "carnyx.train.loop.trace_step",
        lambda model, signature: traced.append(signature) or original(model, signature),
    )
    calls = []

    class Counting(layers.Dense):
        def call(self, inputs, training=None):
            calls.append(inputs.shape)
            return super().call(inputs)

    model = carnyx.Sequential([carnyx.Input((6,)), Counting(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    calls.clear()
    model.fit(X, LABELS, batch_size=32, epochs=3, verbose=0)  # 32, 32 and 6 rows
    assert [s.batch_size for s in traced] == [32, 6]
    assert len(calls) == 2, "the layers themselves run once for each signature"
    model.fit(X, LABELS, batch_size=32, epochs=2, verbose=0)
    assert len(traced) == 2


def test_the_same_seed_gives_the_same_bits() -> None:
    results = []
    for _ in range(2):
        carnyx.utils.set_random_seed(11)
        model = carnyx.Sequential(
            [carnyx.Input((6,)), layers.Dense(8), layers.Dropout(0.5), layers.Dense(3, "softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        history = model.fit(X, LABELS, epochs=3, verbose=0).history
        results.append((history, weights_of(model)))
    assert results[0][0] == results[1][0]
    assert_close(results[0][1], results[1][1], 0)


# ---- other ways of running


@pytest.mark.parametrize("mode", ["eager", "numpy", "generator", "train_on_batch"])
def test_every_way_of_training_gives_the_same(mode: str) -> None:
    def build(**kwargs):
        carnyx.utils.set_random_seed(2)
        return classifier(**kwargs)

    reference = build()
    reference.fit(X[:64], LABELS[:64], batch_size=16, epochs=2, shuffle=False, verbose=0)
    batches = [(X[i : i + 16], LABELS[i : i + 16]) for i in range(0, 64, 16)]
    if mode == "eager":
        model = build(run_eagerly=True)
        model.fit(X[:64], LABELS[:64], batch_size=16, epochs=2, shuffle=False, verbose=0)
    elif mode == "numpy":
        model = build(engine="numpy")
        model.fit(X[:64], LABELS[:64], batch_size=16, epochs=2, shuffle=False, verbose=0)
    elif mode == "generator":
        model = build()
        model.fit(iter(batches * 2), steps_per_epoch=4, epochs=2, verbose=0)
    else:
        model = build()
        for x, y in batches * 2:
            model.train_on_batch(x, y)
    assert_close(model.get_weights(), reference.get_weights(), 1e-5)
    np.testing.assert_allclose(
        model.evaluate(X, LABELS, verbose=0), reference.evaluate(X, LABELS, verbose=0), rtol=1e-4
    )


def test_predict_shapes_and_batches() -> None:
    model = classifier()
    whole = model.predict(X, verbose=0)
    assert whole.shape == (70, 3) and isinstance(whole, np.ndarray)
    np.testing.assert_allclose(model.predict(X, batch_size=7, verbose=0), whole, atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch(X), whole, atol=1e-6)
    np.testing.assert_allclose(
        model.predict(X[:1].astype("float64"), verbose=0), whole[:1], atol=1e-6
    )
    np.testing.assert_allclose(model(X), whole, atol=1e-6)


def test_predict_sees_new_weights() -> None:
    model = classifier()
    first = model.predict(X[:2], verbose=0)
    model.set_weights([w * 0 for w in model.get_weights()])
    assert not np.allclose(first, model.predict(X[:2], verbose=0))
    np.testing.assert_allclose(model.predict(X[:2], verbose=0), 1 / 3, rtol=1e-6)


def test_freezing_after_compile_takes_effect() -> None:
    model = classifier()
    model.fit(X, LABELS, verbose=0)
    model.layers[0].trainable = False
    before = weights_of(model)
    model.fit(X, LABELS, verbose=0)
    after = weights_of(model)
    assert_close(before[:2], after[:2], 0)
    assert not np.allclose(before[2], after[2])


class Headed(carnyx.Model):
    def __init__(self) -> None:
        super().__init__(name="headed")
        self.blocks = [layers.Dense(3, kernel_regularizer="l2"), layers.Dense(2)]
        self.head = layers.Dense(1)

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def _add_lora(model) -> None:
    model.head.enable_lora(1)
    model.head.lora_kernel_b.assign([[2.0]])


def _merge_lora(model) -> None:
    model.head.merge_lora()


def _other_head(model) -> None:
    model.head = HEAD


def _other_block(model) -> None:
    model.blocks[1] = layers.Dense(2)


def _freeze(model) -> None:
    """Its regularizer counts no more."""
    model.blocks[0].trainable = False


HEAD = layers.Dense(1)


def test_steps_are_those_of_the_variables_that_are_there() -> None:
    x = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
    y, model = x[:, :1], Headed()
    HEAD.build((None, 2))
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    model.evaluate(x, y, verbose=0)
    before = model.predict(x, verbose=0)
    for change in (_add_lora, _merge_lora, _other_head, _other_block, _freeze):
        change(model)
        outputs = np.asarray(model(x))
        np.testing.assert_allclose(model.predict(x, verbose=0), outputs, rtol=1e-5, atol=1e-6)
        loss = np.mean((outputs - y) ** 2) + sum(map(float, model.losses))
        np.testing.assert_allclose(model.evaluate(x, y, verbose=0), loss, rtol=1e-5)
        changed = change not in (_merge_lora, _freeze)
        assert changed == (np.abs(model.predict(x, verbose=0) - before).max() > 0.01)
        before = outputs
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    assert np.abs(np.asarray(model(x)) - before).max() > 1e-4


def test_predictions_look_for_variables_only_after_a_change(monkeypatch) -> None:
    x, model = np.ones((4, 2), "float32"), Headed()
    model.predict(x, verbose=0)
    executor, looks = model.executor, []
    look = executor._look
    monkeypatch.setattr(executor, "_look", lambda: (looks.append(1), look()))
    for _ in range(3):
        model.predict(x, verbose=0)
    assert len(looks) <= 1  # what the first call has made counts
    layers.Dense(1).build((None, 2))  # anybody's
    model.predict(x, verbose=0)
    model.predict(x, verbose=0)
    assert len(looks) <= 2 and len(executor.steps) == 1


def test_layers_with_state_train() -> None:
    model = carnyx.Sequential(
        [carnyx.Input((6,)), layers.BatchNormalization(), layers.Dense(3, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, LABELS, batch_size=70, epochs=1, verbose=0)
    np.testing.assert_allclose(
        model.layers[0].moving_mean.numpy(), 0.01 * X.mean(axis=0), rtol=1e-4, atol=1e-6
    )


def test_subclassed_model_with_dict_outputs() -> None:
    class Two(carnyx.Model):
        def __init__(self) -> None:
            super().__init__()
            self.body = layers.Dense(5, activation="tanh")
            self.kind = layers.Dense(3, activation="softmax")
            self.size = layers.Dense(1)

        def call(self, inputs, training=False):
            h = self.body(inputs)
            return {"kind": self.kind(h), "size": self.size(h)}

    model = Two()
    model.compile(
        "adam",
        {"kind": "sparse_categorical_crossentropy", "size": "mse"},
        metrics={"kind": "accuracy"},
    )
    log = model.fit(X, {"kind": LABELS, "size": X[:, :1]}, epochs=8, verbose=0).history
    assert set(log) == {"loss", "kind_loss", "size_loss", "kind_accuracy"}
    assert log["loss"][-1] < log["loss"][0]
    assert set(model.predict(X[:4], verbose=0)) == {"kind", "size"}


def test_custom_train_step_with_our_own_gradient() -> None:
    class Twice(carnyx.Model):
        """Minimises the square of the weights' sum, by hand."""

        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1, use_bias=False, kernel_initializer="ones")

        def call(self, inputs):
            return self.dense(inputs)

        def train_step(self, data):
            x, _, _ = data
            from carnyx.core.state import value_and_grad

            loss, gradients = value_and_grad(
                lambda: jax.numpy.mean(self(x)) ** 2, self.trainable_variables
            )()
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"square": loss}

    model = Twice()
    model.compile(carnyx.optimizers.SGD(0.1))
    log = model.fit(np.ones((32, 2), "float32"), epochs=1, verbose=0).history
    np.testing.assert_allclose(log["square"], [4.0])
    np.testing.assert_allclose(model.dense.kernel.numpy(), 0.6, rtol=1e-6)


def test_add_loss_and_regularizers_count() -> None:
    class Penal(layers.Dense):
        def call(self, inputs, training=None):
            out = super().call(inputs)
            self.add_loss(2.0 * jax.numpy.mean(out))
            return out

    model = carnyx.Sequential(
        [carnyx.Input((2,)), Penal(1, kernel_initializer="ones", kernel_regularizer="l2")]
    )
    model.compile("sgd", "mse")
    loss = model.evaluate(np.ones((4, 2)), np.full((4, 1), 2.0), verbose=0)
    np.testing.assert_allclose(loss, 2.0 * 2 + 0.01 * 2, rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision_learns(policy: str) -> None:
    model = carnyx.Sequential(
        [
            carnyx.Input((6,)),
            layers.Dense(16, activation="relu", dtype=policy),
            layers.Dense(3, activation="softmax", dtype=policy),
        ]
    )
    model.dtype_policy = carnyx.DTypePolicy(policy)
    model.compile(carnyx.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    log = model.fit(X, LABELS, epochs=12, verbose=0).history["loss"]
    assert log[-1] < 0.6 * log[0]
    kind = "bfloat16" if policy == "bfloat16" else "float32"
    assert model.weights[0].numpy().dtype.name == kind


# ---- callbacks in the loop


def test_every_hook_is_called_in_order() -> None:
    events = []

    class Recorder(Callback):
        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda *args: events.append(name)
            return super().__getattribute__(name)

    hooks = [n for n in dir(Callback) if n.startswith("on_")]
    recorder = type("All", (Recorder,), {n: (lambda self, *a: None) for n in hooks})()
    model = classifier()
    model.fit(X[:40], LABELS[:40], verbose=0, validation_data=(X, LABELS), callbacks=[recorder])
    one = ["on_train_batch_begin", "on_train_batch_end"]
    test = ["on_test_begin"] + ["on_test_batch_begin", "on_test_batch_end"] * 3 + ["on_test_end"]
    assert events == [
        "on_train_begin", "on_epoch_begin", *one * 2, *test, "on_epoch_end", "on_train_end"
    ]  # fmt: skip


def test_early_stopping_restores_the_best() -> None:
    model = classifier(optimizer=carnyx.optimizers.SGD(30.0))
    stop = EarlyStopping(monitor="loss", patience=2, restore_best_weights=True)
    history = model.fit(X, LABELS, epochs=50, verbose=0, callbacks=[stop])
    losses = history.history["loss"]
    assert len(losses) < 50
    assert stop.best_epoch == int(np.argmin(losses))


def test_checkpoint_keeps_the_best_weights(tmp_path) -> None:
    path = tmp_path / "best.weights.h5"
    keep = ModelCheckpoint(path, monitor="loss", save_best_only=True, save_weights_only=True)
    model = classifier()
    model.fit(X, LABELS, epochs=3, verbose=0, callbacks=[keep])
    twin = classifier()
    twin.load_weights(path)
    assert_close(twin.get_weights(), model.get_weights(), 0)


def test_the_optimizer_state_is_in_the_file(tmp_path) -> None:
    model = classifier()
    model.fit(X, LABELS, epochs=2, verbose=0, shuffle=False)
    model.save_weights(tmp_path / "m.weights.h5")
    twin = classifier()
    twin.optimizer.build(twin.trainable_variables)
    twin.load_weights(tmp_path / "m.weights.h5")
    for m in (model, twin):
        m.fit(X, LABELS, epochs=1, verbose=0, shuffle=False)
    assert_close(twin.get_weights(), model.get_weights(), 0)


def test_stop_training_ends_the_run() -> None:
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            self.model.stop_training = batch == 1

    history = classifier().fit(X, LABELS, batch_size=8, epochs=9, verbose=0, callbacks=[Stop()])
    assert history.epoch == [0]


def test_initial_epoch_and_steps() -> None:
    model = classifier()
    history = model.fit(X, LABELS, epochs=5, initial_epoch=3, steps_per_epoch=2, verbose=0)
    assert history.epoch == [3, 4]
    assert int(model.optimizer.iterations) == 4


def test_learning_rate_can_change_without_compiling() -> None:
    model = classifier(optimizer="sgd")
    model.fit(X, LABELS, verbose=0)
    model.optimizer.learning_rate = 0.0
    before = weights_of(model)
    model.fit(X, LABELS, verbose=0)
    assert_close(before, model.get_weights(), 0)


def test_plain_lines_when_the_output_is_no_terminal(capsys) -> None:
    model = classifier()
    model.fit(X, LABELS, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Epoch 2/2 - 3/3 - ") and "accuracy: " in lines[1]


def test_summary_names_every_layer(capsys) -> None:
    classifier().summary()
    text = capsys.readouterr().out
    assert "dense (Dense)" in text and "(None, 8)" in text and "Trainable parameters: 83" in text
