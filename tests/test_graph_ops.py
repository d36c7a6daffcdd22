"""Operations, operators and slices in graphs: configs here and in Keras, clones, symbols."""

from __future__ import annotations

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers, ops
from carnyx.core.operations import address, lookup
from carnyx.core.symbol import Function, KerasTensor

RNG = np.random.default_rng(0)
X, Z = (RNG.uniform(0.1, 2.0, (2, 4, 6)).astype("float32") for _ in range(2))

# name -> a graph of two inputs [B, 4, 6], written for either library: `o` is its ops
ROWS: dict[str, Any] = {
    "add": lambda o, x, z: x + z,
    "radd": lambda o, x, z: 1 + x,
    "sub": lambda o, x, z: x - 2.5,
    "rsub": lambda o, x, z: 2.5 - x,
    "mul": lambda o, x, z: x * z,
    "truediv": lambda o, x, z: x / z,
    "rtruediv": lambda o, x, z: 1 / x,
    "floordiv": lambda o, x, z: x // 0.3,
    "mod": lambda o, x, z: x % 0.3,
    "pow": lambda o, x, z: x**2,
    "rpow": lambda o, x, z: 2**x,
    "matmul": lambda o, x, z: x @ o.transpose(z, (0, 2, 1)),
    "neg": lambda o, x, z: -x,
    "abs": lambda o, x, z: abs(x),
    "round": lambda o, x, z: round(x, 1),
    "compare": lambda o, x, z: (x < z) | (x >= 1) & ~(z <= 0.5) ^ (z > 1.5),
    "not-equal": lambda o, x, z: x != z,
    "array": lambda o, x, z: x + np.arange(6, dtype="float32"),
    "slice": lambda o, x, z: x[:, 0],
    "slice-steps": lambda o, x, z: x[:, ::2, -1],
    "slice-none": lambda o, x, z: x[..., None, 1:3],
    "slice-reversed": lambda o, x, z: x[:, ::-1, :-2],
    "reshape-method": lambda o, x, z: x.reshape((-1, 24)),
    "squeeze-method": lambda o, x, z: x[:, :1].squeeze(1),
    "reshape": lambda o, x, z: o.reshape(x, (-1, 3, 8)),
    "transpose": lambda o, x, z: o.transpose(x, axes=(0, 2, 1)),
    "concatenate": lambda o, x, z: o.concatenate([x, z], axis=1),
    "stack": lambda o, x, z: o.stack([x, z], axis=-1),
    "split": lambda o, x, z: o.split(x, 2, axis=1),
    "split-at": lambda o, x, z: o.split(x, [1, 3], axis=1)[1],
    "unstack": lambda o, x, z: o.unstack(x, axis=1)[2],
    "mean": lambda o, x, z: o.mean(x, axis=(1, 2), keepdims=True),
    "sum": lambda o, x, z: o.sum(x, axis=-1),
    "max": lambda o, x, z: o.max(x, axis=[1, 2]),
    "argmax": lambda o, x, z: o.argmax(x, axis=-1),
    "einsum": lambda o, x, z: o.einsum("bij,bkj->bik", x, z),
    "tensordot": lambda o, x, z: o.tensordot(x, np.ones((6, 2), "float32"), axes=1),
    "where": lambda o, x, z: o.where(x > 1, x, z),
    "clip": lambda o, x, z: o.clip(x, 0.5, x_max=1.0),
    "cast": lambda o, x, z: o.cast(x, "int32"),
    "one_hot": lambda o, x, z: o.one_hot(o.cast(x, "int32"), 3),
    "take": lambda o, x, z: o.take(x, np.array([0, 2]), axis=1),
    "pad": lambda o, x, z: o.pad(x, ((0, 0), (1, 1), (0, 2)), constant_values=2.0),
    "swapaxes": lambda o, x, z: o.swapaxes(x, 1, 2),
    "flip": lambda o, x, z: o.flip(x, axis=1),
    "repeat": lambda o, x, z: o.repeat(x, 2, axis=1),
    "expand_dims": lambda o, x, z: o.expand_dims(x, 2),
    "zeros_like": lambda o, x, z: o.zeros_like(x) + o.ones_like(z),
    "full_like": lambda o, x, z: o.full_like(x, 2),
    "exp-log": lambda o, x, z: o.log(o.exp(x) + o.sqrt(z)) - o.square(x),
    "relu": lambda o, x, z: o.relu(x - 1),
    "softmax": lambda o, x, z: o.softmax(x, axis=1),
    "gelu": lambda o, x, z: o.gelu(x, approximate=False),
    "leaky_relu": lambda o, x, z: o.leaky_relu(x - 1, 0.3),
    "silu": lambda o, x, z: o.silu(x),
    "moments": lambda o, x, z: o.moments(x, axes=[1]),
    "batch_normalization": lambda o, x, z: o.batch_normalization(
        x, np.zeros(6, "float32"), np.ones(6, "float32"), axis=-1, scale=np.full(6, 2, "float32")
    ),
    "layer_normalization": lambda o, x, z: o.layer_normalization(x, np.ones(6, "float32")),
    "top_k": lambda o, x, z: o.top_k(x, 2),
    "logsumexp": lambda o, x, z: o.logsumexp(x, axis=-1),
    "conv": lambda o, x, z: o.conv(x, np.ones((3, 6, 2), "float32"), padding="same"),
    "max_pool": lambda o, x, z: o.max_pool(x[..., None], 2, strides=1, padding="same"),
    "stop_gradient": lambda o, x, z: o.stop_gradient(x),
    "maximum": lambda o, x, z: o.maximum(x, z) - o.minimum(x, 1.0),
    "logical": lambda o, x, z: o.logical_and(x > 1, z > 1),
    "isclose": lambda o, x, z: o.isclose(x, z, rtol=0.5),
    "segment_sum": lambda o, x, z: o.segment_sum(
        o.transpose(x, (1, 0, 2)), np.array([0, 0, 1, 1]), num_segments=2
    ),
    "nested": lambda o, x, z: o.concatenate([x[:, :2], o.relu(z)[:, 1:] * 2 + 1], axis=1),
}


def graph(library: Any, row: Any) -> Any:
    x, z = library.Input((4, 6), name="x"), library.Input((4, 6), name="z")
    return library.Model([x, z], row(library.ops, x, z), name="graph")


def through_json(model: Any) -> dict[str, Any]:
    return json.loads(json.dumps(model.get_config()))


def agree(ours: Any, theirs: Any) -> None:
    ours, theirs = (list(o) if isinstance(o, (list, tuple)) else [o] for o in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ROWS)
def test_configs_go_both_ways(name: str) -> None:
    import keras

    ours, theirs = graph(carnyx, ROWS[name]), graph(keras, ROWS[name])
    expected = theirs([X, Z])
    agree(ours([X, Z]), expected)
    twin = carnyx.Model.from_config(through_json(ours))
    assert through_json(twin) == through_json(ours)
    agree(twin([X, Z]), expected)
    agree(keras.Model.from_config(through_json(ours))([X, Z]), expected)
    loaded = carnyx.Model.from_config(through_json(theirs))
    assert loaded.output_shape == theirs.output_shape
    agree(loaded([X, Z]), expected)


# ---- activations, names, what is refused


@pytest.mark.parametrize("name", ["relu", "gelu", "softmax", "exponential", "mish", "leaky_relu"])
def test_activations_are_operations_too(name: str) -> None:
    import keras

    arguments = {
        "relu": {"negative_slope": 0.2, "max_value": 0.5},
        "leaky_relu": {"negative_slope": 0.3},
    }
    inputs = carnyx.Input((6,), name="x")
    function = getattr(carnyx.activations, name)
    model = carnyx.Model(inputs, function(inputs - 1, **arguments.get(name, {})))
    x = X[:, 0]
    twin = carnyx.Model.from_config(through_json(model))
    agree(twin(x), model(x))
    if name != "mish":  # Keras's takes no symbols
        agree(keras.Model.from_config(through_json(model))(x), model(x))
        their_input = keras.Input((6,), name="x")
        theirs = getattr(keras.activations, name)(their_input - 1, **arguments.get(name, {}))
        theirs = keras.Model(their_input, theirs)
        agree(carnyx.Model.from_config(through_json(theirs))(x), theirs(x))


def test_every_operation_has_an_address_of_its_own_that_keras_knows() -> None:
    """Our names give Keras's modules and classes: all of ours that Keras has as classes."""
    import importlib
    import inspect

    from keras.src.ops.operation import Operation

    theirs = {}
    for home in "core numpy nn linalg math image einops".split():
        module = importlib.import_module(f"keras.src.ops.{home}")
        for name, cls in vars(module).items():
            if (
                inspect.isclass(cls)
                and issubclass(cls, Operation)
                and cls.__module__ == module.__name__
            ):
                theirs[module.__name__, name] = cls
    from carnyx.core.operations import _in_node, _table

    unknown, wrong = [], []
    for place, function in _table().items():
        cls = theirs.get(place)
        if cls is None:
            unknown.append(function.__name__)
            continue
        config = [
            p for p in inspect.signature(cls.__init__).parameters if p not in ("self", "name")
        ]
        own = inspect.signature(function).parameters.values()
        ours = [
            p.name
            for p in own
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            and not _in_node(function.__name__, p.name)
        ]
        if set(config) - {"kwargs", "rms_scaling"} != set(ours):
            wrong.append((function.__name__, config, ours))
    assert not wrong
    # makers of arrays, which take no tensors, and what Keras has no class for
    no_class = (
        "convert_to_numpy custom_gradient dtype extract_patches_3d eye identity is_tensor ones "
        "shape tri vectorize zeros bartlett blackman hamming hanning kaiser empty swish hard_swish"
    ).split()
    assert set(unknown) <= {*no_class, *carnyx.activations.__all__}


def test_names_stay_unique() -> None:
    inputs = carnyx.Input((3,), name="x")
    first = carnyx.Model(inputs, inputs + 1)
    carnyx.utils.clear_session()
    second = carnyx.Model(inputs, first.output + 1 + 2)  # "add" once more
    names = [c["name"] for c in second.get_config()["layers"]]
    assert len(set(names)) == len(names) == 4
    agree(carnyx.Model.from_config(through_json(second))(X[0, :, :3]), X[0, :, :3] + 4)


def test_shared_layers_and_operations_keep_their_order() -> None:
    inputs = carnyx.Input((6,), name="x")
    shared = layers.Dense(6, name="d")
    out = ops.concatenate([shared(inputs[:, ::-1]), ops.relu(shared(inputs)) * inputs], axis=-1)
    model = carnyx.Model(inputs, {"out": out, "sum": ops.sum(out, axis=1)})
    twin = carnyx.Model.from_config(through_json(model))
    twin.set_weights(model.get_weights())
    for key, value in twin(X[:, 0]).items():
        agree(value, model(X[:, 0])[key])
    assert [o.name for o in twin.operations] == [o.name for o in model.operations]
    assert [layer.name for layer in model.layers] == ["x", "d"]


def test_only_our_own_operations_are_found() -> None:
    config = through_json(graph(carnyx, ROWS["radd"]))
    bad = [
        {"module": "os", "class_name": "system"},
        {"module": "keras.src.ops.numpy", "class_name": "add"},
        {"module": "keras.src.ops.numpy", "class_name": "_in_node"},
        {"module": "keras.src.ops.nn", "class_name": "Add"},
        {"module": "keras.src.ops.operation", "class_name": "Operation"},
    ]
    for change in bad:
        entry = next(c for c in config["layers"] if c["name"] == "add")
        entry.update(change, registered_name=change["class_name"])
        with pytest.raises(ValueError, match="Cannot build"):
            carnyx.Model.from_config(config)
    with pytest.raises(ValueError, match="Did you mean .*'Add'"):
        lookup("keras.src.ops.numpy", "Ad")


def test_what_cannot_be_written_says_so() -> None:
    inputs = carnyx.Input((3,))
    own = ops.custom_gradient(lambda x: (x, lambda g: g))
    with pytest.raises(ValueError, match="cannot be written into a config.*call\\(\\) of a Layer"):
        carnyx.Model(inputs, own(inputs)).get_config()
    entry = {"module": "keras.src.ops.numpy", "class_name": "Mean", "config": {"name": "m", "q": 1}}
    node = {"args": [], "kwargs": {}}
    config = through_json(carnyx.Model(inputs, ops.mean(inputs, axis=1)))
    config["layers"][1].update(entry)
    with pytest.raises(ValueError, match="'mean' has arguments that it does not take.*'q': 1"):
        carnyx.Model.from_config(config)
    assert node["args"] == []


def test_functions_in_graphs_are_written_by_registered_name() -> None:
    @carnyx.saving.register_keras_serializable("tests")
    def double(x):
        return x * 2

    inputs = carnyx.Input((3,), name="x")
    model = carnyx.Model(inputs, ops.map(double, inputs))
    twin = carnyx.Model.from_config(through_json(model))
    agree(twin(X[0, :, :3]), 2 * X[0, :, :3])


# ---- symbols


def test_a_symbol_behaves_as_keras_s() -> None:
    import keras

    ours, theirs = carnyx.Input((3, 1)), keras.Input((3, 1))
    for t in (ours, theirs):
        assert (t == 1) is False and (t == t) is True and hash(t) == hash(t)  # noqa: PLR0124
        assert t.shape == (None, 3, 1) and t.ndim == 3 and t.ragged_rank is None
        assert (t != 1).dtype == "bool" and round(t, 2).shape == t.shape
        assert t.reshape((-1, 3)).shape == (None, 3) and t.squeeze(-1).shape == (None, 3)
        for bad in (len, bool, int, float, iter, np.asarray, jnp.sin):
            with pytest.raises((TypeError, ValueError, NotImplementedError)):
                bad(t)


def test_operations_and_functions_of_ones_own() -> None:
    class Scale(carnyx.Operation):
        def __init__(self, factor: float, name: str | None = None) -> None:
            super().__init__(name=name)
            self.factor = factor

        def call(self, x: Any, shift: float = 0.0) -> Any:
            return x * self.factor + shift

    inputs = carnyx.Input((3,), name="x")
    scale = Scale(3.0)
    model = carnyx.Model(inputs, scale(inputs, shift=1.0))
    assert scale.output.shape == (None, 3) and scale.input is inputs
    x = X[0, :, :3]
    twin = carnyx.Model.from_config(through_json(model), custom_objects={"Scale": Scale})
    agree(twin(x), 3 * x + 1)
    assert isinstance(layers.Dense(1), carnyx.Operation)

    z = KerasTensor((None, 3))
    function = carnyx.Function([inputs, z], {"sum": inputs + z, "far": (inputs - z) ** 2})
    agree(function([x, 2 * x])["far"], x**2)
    assert function([inputs, z])["sum"].shape == (None, 3)
    assert function.compute_output_shape([(5, 3), (5, 3)]) == {"sum": (5, 3), "far": (5, 3)}
    assert {o.name for o in function.operations} == {"x", "add", "subtract", "power"}
    with pytest.raises(ValueError, match="2 inputs and received 1"):
        function([x])


# ---- clones


def net() -> Any:
    inputs = carnyx.Input((3,), name="in")
    inner = carnyx.Sequential([carnyx.Input((2,)), layers.Dense(2, name="deep")], name="inner")
    return carnyx.Model(inputs, inner(ops.relu(layers.Dense(2, name="d")(inputs)) + 1), name="net")


def test_clone_copies_structure_and_not_weights() -> None:
    model = net()
    twin = carnyx.models.clone_model(model)
    assert twin.name == "net" and [o.name for o in twin.operations] == [
        o.name for o in model.operations
    ]
    assert not np.array_equal(twin.get_weights()[0], model.get_weights()[0])
    twin.set_weights(model.get_weights())
    agree(twin(X[0, :, :3]), model(X[0, :, :3]))
    assert twin.get_config() == model.get_config()


@pytest.mark.parametrize("recursive", [False, True])
def test_clone_calls_what_it_is_given(recursive: bool) -> None:
    cloned, called = [], []

    def clone(one: Any) -> Any:
        cloned.append(one.name)
        config = one.get_config()
        if isinstance(one, layers.Dense):
            config["activation"] = "tanh"
        return type(one).from_config(config)

    def call(one: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(one.name)
        return one(*args, **kwargs)

    twin = carnyx.models.clone_model(
        net(), clone_function=clone, call_function=call, recursive=recursive
    )
    assert cloned == ["d", "relu", "add", "deep" if recursive else "inner"]
    assert called == ["d", "relu", "add", "inner"]
    assert twin.get_layer("d").activation is carnyx.activations.tanh
    deep = twin.get_layer("inner").get_layer("deep")
    assert (deep.activation is carnyx.activations.tanh) == recursive


def test_clone_on_other_inputs() -> None:
    new = carnyx.Input((3,), name="new")
    assert [layer.name for layer in carnyx.models.clone_model(net(), new).layers][0] == "new"
    tail = carnyx.models.clone_model(net().get_layer("inner"), [carnyx.Input((2,), name="n")])
    assert tail.inputs[0].name == "n" and tail.output_shape == (None, 2)
    behind = layers.Dense(3)(new)
    assert len(carnyx.models.clone_model(net(), behind).weights) == 4
    with pytest.raises(ValueError, match="`input_tensors` are KerasTensors"):
        carnyx.models.clone_model(net(), np.ones((2, 3)))
    with pytest.raises(ValueError, match="has 1 input, and `input_tensors` 2"):
        carnyx.models.clone_model(net(), [new, new])


def test_clone_refuses_what_it_cannot() -> None:
    class Sub(carnyx.Model):
        def __init__(self, units: int = 2, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.dense = layers.Dense(units)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    assert carnyx.models.clone_model(Sub(5)).dense.units == 5
    with pytest.raises(ValueError, match="for Sequential models and graphs. Received a Sub"):
        carnyx.models.clone_model(Sub(), clone_function=lambda layer: layer)
    with pytest.raises(ValueError, match="`call_function` is for graphs"):
        carnyx.models.clone_model(carnyx.Sequential([layers.Dense(1)]), call_function=print)
    assert not carnyx.models.clone_model(carnyx.Sequential([layers.Dense(1)])).built


def test_addresses_of_functions() -> None:
    assert address(Function("add", ops.add)) == ("keras.src.ops.numpy", "Add")
    function = Function("top_k", ops.top_k)
    assert Function.from_config(function.get_config()).get_config() == function.get_config()


def test_operations_whose_sizes_depend_on_values_are_copied_too() -> None:
    inputs = carnyx.Input((6,), name="x")
    model = carnyx.Model(inputs, ops.unique(inputs, sorted=True))
    assert model.output_shape == (None,)
    for twin in (carnyx.models.clone_model(model), carnyx.Model.from_config(through_json(model))):
        assert twin.output_shape == (None,)
        agree(twin(np.ones((2, 6), "float32")), np.ones(1))
