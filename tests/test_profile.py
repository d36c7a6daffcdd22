"""What a model costs, and where its time goes."""

import jax
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.engines import UnsupportedError
from carnyx.program.cost import costs
from carnyx.train.profile import ELSEWHERE, place_of
from carnyx.train.step import Signature, trace_step

RNG = np.random.default_rng(0)


def digits():
    net = carnyx.Sequential(
        [
            carnyx.Input((12, 12, 2)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(5, name="dense"),
        ],
        name="net",
    )
    net.compile("adam", "mse", metrics=["mae"])
    return net


def program(net, batch=1):
    shape = (batch, *net.input_shape[1:])
    x = jax.ShapeDtypeStruct(shape, "float32")
    return trace_step(net, Signature.of("predict", x, batch)).program


def test_operations_are_those_of_the_formulas():
    found = {layer: cost.flops for layer, cost in costs(program(digits())).items()}
    results = 10 * 10 * 4
    assert found["net/conv"] == 2 * results * 3 * 3 * 2 + 2 * results  # products; bias and relu
    assert found["net/pool"] == 3 * 5 * 5 * 4  # the greatest of four
    assert found["net/flat"] == 0
    assert found["net/dense"] == 2 * 100 * 5 + 5


@pytest.mark.parametrize("batch", [1, 4])
def test_operations_are_those_that_xla_counts(batch):
    """XLA leaves out functions such as exp, and counts a loop's body once: neither is in here."""
    made = program(digits(), batch)
    values = [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in made.inputs]
    theirs = jax.jit(lambda *v: made(*v)).lower(*values).compile().cost_analysis()["flops"]
    ours = sum(cost.flops for cost in costs(made).values())
    assert ours == pytest.approx(theirs, rel=0.02)


def test_a_loop_counts_each_of_its_steps():
    def recurrent(steps):
        net = carnyx.Sequential([carnyx.Input((steps, 3)), layers.SimpleRNN(4, name="rnn")])
        return sum(cost.flops for cost in costs(program(net)).values())

    per_step = 2 * (3 + 4) * 4  # the two products alone
    assert recurrent(7) - recurrent(4) >= 3 * per_step
    assert recurrent(7) - recurrent(6) == recurrent(6) - recurrent(5)


def test_the_summary_shows_them(capsys):
    digits().summary()
    shown = capsys.readouterr().out
    assert "FLOPs" in shown and "15.2 K" in shown and "1.56 KB" in shown  # 4 bytes of 400 results
    assert "FLOPs of one sample: 16.5 K" in shown
    carnyx.Sequential([carnyx.Input((None, 3)), layers.LSTM(4)]).summary()
    assert "FLOPs" not in capsys.readouterr().out  # the number of steps is not known


def test_a_profile_names_every_layer_and_leaves_the_model_as_it_was():
    net, x, y = digits(), RNG.normal(size=(64, 12, 12, 2)), RNG.normal(size=(64, 5))
    net.fit(x, y, verbose=0)
    found = net.profile(x, y, batch_size=16, steps=10)
    assert found.steps >= 10 and found.step > 0
    assert {"net/conv", "net/pool", "net/flat", "net/dense", ELSEWHERE} == set(found.layers)
    assert found.layers["net/conv"].forward > 0 and found.layers["net/dense"].gradient > 0
    assert found.layers["net/conv"].flops > 16 * 15_200  # forward and gradient of 16 samples
    text = str(found)
    assert "net/conv" in text and "waiting" in text and "carnyx.conv" in text
    assert int(np.asarray(net.optimizer.iterations)) == 2 + 4  # only the epoch that compiles stays


def test_only_an_engine_that_compiles_can_be_profiled():
    net = digits()
    net.compile("sgd", "mse", engine="numpy")
    with pytest.raises(UnsupportedError, match="numpy engine does not support profile"):
        net.profile(RNG.normal(size=(8, 12, 12, 2)), RNG.normal(size=(8, 5)))


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("jit(s)/while/body/jvp(net)/conv/jit(carnyx.conv.v1)/dot_general", ("net/conv", False)),
        ("jit(s)/while/body/transpose(jvp(net))/dense/transpose", ("net/dense", True)),
        ("jit(s)/while/body/add", (ELSEWHERE, False)),
        ("", (ELSEWHERE, False)),
    ],
)
def test_a_scope_is_read(scope, expected):
    layer, _, gradient = place_of(scope, {"net/conv", "net/dense"})
    assert (layer, gradient) == expected
