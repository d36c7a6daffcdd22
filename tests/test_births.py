"""Where NaN and infinity are born: the message names the layer, the equation and what went in."""

import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers, ops
from carnyx.callbacks import TerminateOnNaN
from carnyx.program.births import find_birth
from carnyx.program.trace import Slot, trace

X = np.random.default_rng(0).normal(size=(128, 5, 4)).astype("float32")


def model(*middle, loss="mse", rate=0.1):
    """Dense "first", then the layers given, then Dense "last", compiled with SGD."""
    net = carnyx.Sequential([carnyx.Input((5, 4)), layers.Dense(4, name="first"), *middle])
    net.add(layers.Flatten())
    net.add(layers.Dense(1, name="last"))
    net.compile(carnyx.optimizers.SGD(rate), loss)
    return net


def message(net, x=X, **options):
    """What TerminateOnNaN(raise_error=True) says in a fit."""
    y = x.sum((1, 2))[:, None]
    with pytest.raises(RuntimeError) as caught:
        net.fit(x, y, verbose=0, callbacks=[TerminateOnNaN(raise_error=True)], **options)
    return str(caught.value)


def test_a_division_by_zero_in_a_layer():
    text = message(model(layers.Lambda(lambda t: 1 / (t - t), name="inverse")))
    assert "at batch 0" in text and "'div' in layer" in text and "/inverse'" in text
    assert "in [0, 0]" in text and "inf" in text


def test_the_first_of_many_steps_that_goes_wrong():
    growing = model(layers.Activation("exponential", name="grow"), rate=30.0)
    text = message(growing, epochs=3, steps_per_epoch=4)
    assert "/grow'" in text and "'exp'" in text


def test_a_gradient_that_is_infinite_where_the_loss_is_finite():
    # sqrt(0) is 0 and its slope infinite: the weights are ruined one step before the loss shows it
    text = message(model(layers.Lambda(lambda t: ops.sqrt(t * 0), name="root")))
    assert "/root'" in text, text


def test_the_last_step_of_all(capsys):
    net = model(layers.Lambda(lambda t: ops.sqrt(t * 0), name="root"))
    net.fit(X[:32], X[:32].sum((1, 2))[:, None], verbose=0, callbacks=[TerminateOnNaN()])
    said = capsys.readouterr().out
    assert "is not finite after the last step" in said and "/root'" in said


def test_inside_a_loop():
    text = message(model(layers.RNN(Explosive(), return_sequences=True, name="loop")))
    assert "/loop" in text and "'exp'" in text


class Explosive(carnyx.Layer):
    """A cell whose state grows beyond all numbers in the third step."""

    state_size = output_size = 4

    def call(self, inputs, states):
        state = ops.exp(states[0] * 2) + 3
        return state + inputs, [state]


def test_nothing_is_said_of_values_that_go_nowhere():
    def step(values):
        (x,) = values
        masked = jnp.where(x > 0, jnp.log(x), 0.0)  # the logarithm of 0 is left out
        return [masked.sum() + jnp.where(x > 5, 0.0, -jnp.inf).max()]

    slots = [Slot("x", (3,), "float32", "data"), Slot("y", (), "float32", "output")]
    program = trace("step", step, slots[:1], slots[1:])
    assert find_birth(program, [jnp.array([0.0, 1.0, 6.0])]) is None
    birth = find_birth(program, [jnp.array([jnp.inf, 1.0, 6.0])])
    assert birth is not None and birth.operation == "input 'x' (data)"
    assert str(birth).startswith("input 'x' (data), which came as float32[")


def test_the_state_is_let_go_of_after_training():
    net = model()
    net.fit(X, X.sum((1, 2))[:, None], verbose=0, callbacks=[TerminateOnNaN()])
    assert not net.executor.watch and not net.executor._watched
