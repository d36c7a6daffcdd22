"""Variables, pure state, layers, symbols and graphs, without any training."""

from __future__ import annotations

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.core import state
from carnyx.core.config import deserialize, serialize
from carnyx.core.symbol import KerasTensor, infer

RNG = np.random.default_rng(0)


class Affine(carnyx.Layer):
    """A user's layer: automatic config, shapes and tracking."""

    def __init__(self, units: int, scale: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.units, self.scale = units, scale

    def build(self, input_shape) -> None:
        self.w = self.add_weight((input_shape[-1], self.units), "glorot_uniform", name="w")
        self.b = self.add_weight((self.units,), "zeros", name="b")
        self.calls = self.add_weight((), "zeros", trainable=False, name="calls")

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return self.scale * (inputs @ self.w) + self.b


class Tower(carnyx.Model):
    """A subclassed model with layers in attributes, lists and dicts."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.first = Affine(4)
        self.rest = [Affine(3), Affine(3)]
        self.heads = {"a": Affine(2), "b": Affine(1)}

    def call(self, inputs, training=False):
        x = self.first(inputs)
        for layer in self.rest:
            x = layer(x)
        return {name: head(x) for name, head in self.heads.items()}


def test_pure_returns_every_variable_and_changes_none() -> None:
    a, b = carnyx.Variable(1.0), carnyx.Variable([2.0, 3.0])

    def fn(x):
        a.assign(a + x)
        return b.value * a.value

    out, new = state.pure(fn, [a, b])([jnp.array(1.0), jnp.array([2.0, 3.0])], 4.0)
    np.testing.assert_array_equal(out, [10.0, 15.0])
    assert float(new[0]) == 5.0 and np.array_equal(new[1], [2.0, 3.0])
    assert float(a) == 1.0


def test_pure_refuses_an_undeclared_assignment() -> None:
    with state.name_scope("net"):
        hidden = carnyx.Variable(1.0, name="hidden")
    with pytest.raises(ValueError, match="'net/hidden' was assigned inside a pure function"):
        state.pure(lambda: hidden.assign(2.0), [])([])
    assert float(hidden) == 1.0


def test_a_traced_value_cannot_leak() -> None:
    v = carnyx.Variable(1.0, name="v")
    with pytest.raises(ValueError, match="'v' was assigned a traced value"):
        jax.jit(lambda x: v.assign(x))(2.0)


def test_value_and_grad_keeps_assignments() -> None:
    layer = Affine(2)
    x = jnp.ones((3, 4))
    layer.build((3, 4))

    def loss():
        return jnp.sum(layer(x) ** 2)

    value, (gw, gb) = state.value_and_grad(loss, [layer.w, layer.b])()
    w = layer.w.numpy()
    np.testing.assert_allclose(value, np.sum((np.ones((3, 4)) @ w) ** 2), rtol=1e-5)
    np.testing.assert_allclose(gb, 2 * np.sum(np.ones((3, 4)) @ w, axis=0), rtol=1e-5)
    np.testing.assert_allclose(gw, 2 * np.ones((4, 3)) @ (np.ones((3, 4)) @ w), rtol=1e-5)
    assert float(layer.calls) == 1.0


def test_variables_act_as_arrays() -> None:
    v = carnyx.Variable(np.arange(6.0).reshape(2, 3))
    x = RNG.normal(size=(4, 2)).astype("float32")
    np.testing.assert_allclose(x @ v, x @ v.numpy(), rtol=1e-6)
    np.testing.assert_allclose(1 - v / 2, 1 - v.numpy() / 2)
    np.testing.assert_array_equal(v[1], [3, 4, 5])
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and was assigned a value of shape \(3,"):
        v.assign(np.zeros((3, 2)))


def test_layer_finds_what_it_owns() -> None:
    tower = Tower()
    tower(np.ones((2, 5), "float32"))
    paths = [v.path for v in tower.trainable_variables]
    assert paths[:2] == ["tower/affine/w", "tower/affine/b"]
    assert len(tower.trainable_variables) == 10 and len(tower.non_trainable_variables) == 5
    tower.first.trainable = False
    assert len(tower.trainable_variables) == 8
    tower.trainable = True
    assert len(tower.trainable_variables) == 10
    assert not tower.first.calls.trainable


def test_config_is_automatic_and_complete() -> None:
    layer = Affine(3, scale=2.0, name="mine")
    config = layer.get_config()
    assert (config["units"], config["scale"], config["name"]) == (3, 2.0, "mine")
    twin = Affine.from_config(config)
    assert twin.get_config() == config


def test_only_known_classes_are_built_from_configs() -> None:
    evil = {"module": "os", "class_name": "system", "config": "true", "registered_name": None}
    with pytest.raises(ValueError, match="neither a class of Carnyx nor registered"):
        deserialize(evil)
    config = serialize(Affine(3))
    with pytest.raises(ValueError, match="custom_objects"):
        deserialize(config)
    assert deserialize(config, {"Affine": Affine}).units == 3


def test_shapes_are_inferred_by_abstract_evaluation() -> None:
    assert Affine(3).compute_output_shape((None, 5)) == (None, 3)
    assert Affine(3).compute_output_shape((7, None, 5)) == (7, None, 3)
    out = infer(lambda a, b: (a @ b.T, a[:, :1]), (KerasTensor((None, 4)), KerasTensor((6, 4))), {})
    assert [t.shape for t in out] == [(None, 6), (None, 1)]


def test_shape_inference_changes_nothing() -> None:
    layer = Affine(3)
    layer.build((None, 5))
    before = layer.get_weights()
    layer.compute_output_shape((None, 5))
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def functional() -> carnyx.Model:
    a, b = carnyx.Input((4,), name="a"), carnyx.Input((4,), name="b")
    shared = layers.Dense(3, name="shared")
    joined = layers.Concatenate()([shared(a), shared(b)])
    inner = carnyx.Sequential([layers.Dense(5, name="p"), layers.Dense(2, name="q")], name="inner")
    return carnyx.Model([a, b], [inner(joined), 2 * joined[:, :1] + 1], name="net")


def test_functional_shared_nested_multiple() -> None:
    model = functional()
    x, y = RNG.normal(size=(2, 6, 4)).astype("float32")
    out = model([x, y])
    k, bias = model.get_layer("shared").get_weights()
    joined = np.concatenate([x @ k + bias, y @ k + bias], axis=1)
    wp, bp, wq, bq = model.get_layer("inner").get_weights()
    np.testing.assert_allclose(out[0], (joined @ wp + bp) @ wq + bq, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out[1], 2 * joined[:, :1] + 1, rtol=1e-5)
    np.testing.assert_array_equal(model({"b": y, "a": x})[0], out[0])
    assert model.output_shape == [(None, 2), (None, 1)]
    assert [layer.name for layer in model.layers][:3] == ["a", "b", "shared"]


def test_a_part_of_a_graph_is_a_model() -> None:
    inputs = carnyx.Input((4,))
    middle = layers.Dense(3, activation="relu")(inputs)
    whole = carnyx.Model(inputs, layers.Dense(2)(middle))
    part = carnyx.Model(whole.input, whole.layers[1].output)
    tail = carnyx.Model(middle, whole.output)
    x = RNG.normal(size=(5, 4)).astype("float32")
    np.testing.assert_allclose(tail(part(x)), whole(x), rtol=1e-6)


def test_graph_round_trip_through_its_config() -> None:
    inputs = carnyx.Input((4,), name="in")
    x = layers.Dense(3, activation="relu", name="one")(inputs)
    x = layers.Add(name="sum")([x, layers.Dense(3, name="two")(inputs)])
    model = carnyx.Model(inputs, x, name="graph")
    twin = deserialize(serialize(model))
    twin.set_weights(model.get_weights())
    data = RNG.normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(twin(data), model(data))
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]


def test_sequential_grows_and_shrinks() -> None:
    model = carnyx.Sequential([carnyx.Input((4,)), layers.Dense(3), layers.Dense(2)])
    assert model.output_shape == (None, 2)
    model.pop()
    assert model.output_shape == (None, 3) and len(model.weights) == 2
    model.add(layers.Dense(5))
    assert model(np.ones((1, 4))).shape == (1, 5)
    assert [v.path.split("/")[0] for v in model.weights] == [model.name] * 4


def test_sequential_without_input_builds_on_first_call() -> None:
    model = carnyx.Sequential([layers.Dense(3), layers.Dense(2)])
    assert not model.built
    with pytest.raises(AttributeError, match="has not been given its input shape"):
        model.output_shape  # noqa: B018
    model(np.ones((2, 4), "float32"))
    assert model.built and model.output_shape == (None, 2)


def test_cycles_are_refused() -> None:
    layer = Affine(2)
    layer.inner = [layer]
    with pytest.raises(ValueError, match="contains itself"):
        layer.weights  # noqa: B018
    model = carnyx.Sequential([layers.Dense(2)])
    with pytest.raises(ValueError, match="cannot contain itself"):
        model.add(model)


def test_masks_travel_through_layers_and_traces() -> None:
    model = carnyx.Sequential(
        [layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3, return_sequences=True)]
    )
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    eager = model(ids)
    traced = jax.jit(lambda x: model(x))(ids)
    np.testing.assert_allclose(eager, traced, rtol=1e-6)
    np.testing.assert_array_equal(eager[:, 2], eager[:, 3])
    np.testing.assert_array_equal(state.get_mask(eager), ids != 0)


def test_mixed_precision_keeps_weights_in_float32() -> None:
    layer = layers.Dense(3, dtype="mixed_bfloat16")
    out = layer(np.ones((2, 4), "float32"))
    assert out.dtype == jnp.bfloat16
    assert layer.kernel.numpy().dtype == np.float32
    assert layers.Dense(3, dtype="bfloat16")(np.ones((2, 4))).dtype == jnp.bfloat16


def test_losses_of_layers_and_regularizers() -> None:
    class Penal(carnyx.Layer):
        def call(self, inputs):
            self.add_loss(jnp.mean(inputs))
            return inputs

    model = carnyx.Sequential([Penal(), layers.Dense(2, kernel_regularizer="l2")])
    x = np.full((2, 3), 4.0, "float32")
    model(x)
    kernel = model.layers[1].kernel.numpy()
    assert len(model.losses) == 2
    np.testing.assert_allclose(sum(model.losses), 4.0 + 0.01 * np.sum(kernel**2), rtol=1e-6)
    model(x)
    assert len(model.losses) == 2, "a new call starts anew"


def test_stateless_call_is_pure() -> None:
    layer = Affine(2)
    layer.build((None, 3))
    trainable = [v.value for v in layer.trainable_variables]
    rest = [v.value for v in layer.non_trainable_variables]
    out, new = layer.stateless_call(trainable, rest, np.ones((1, 3), "float32"))
    assert float(new[0]) == 1.0 and float(layer.calls) == 0.0
    np.testing.assert_allclose(out, np.ones((1, 3)) @ layer.w.numpy(), rtol=1e-6)


def test_errors_name_the_layer_and_what_it_received() -> None:
    inner = carnyx.Sequential([layers.Dense(3, name="deep")], name="inner")
    model = carnyx.Sequential([carnyx.Input((4,)), inner], name="outer")
    inner.layers[0].call = None  # not callable: fails inside
    with pytest.raises(TypeError, match=r"in layer 'outer/inner/deep' \(Dense\), which received"):
        model(np.ones((2, 4), "float32"))


def test_deepcopy_makes_an_independent_model() -> None:
    model = carnyx.Sequential([carnyx.Input((3,)), layers.Dense(2)])
    twin = copy.deepcopy(model)
    twin.set_weights([np.zeros((3, 2)), np.zeros(2)])
    assert np.abs(model.get_weights()[0]).sum() > 0
