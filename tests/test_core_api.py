"""StatelessScope, remat, policies by path, global settings, and functions of JAX as layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import carnyx
from carnyx import layers
from carnyx.core.state import pure, value_and_grad
from carnyx.ops.control import remat


def test_stateless_scope_keeps_assignments():
    v = carnyx.Variable([1.0, 2.0], name="v")
    with carnyx.StatelessScope(state_mapping=[(v, np.array([3.0, 4.0]))]) as scope:
        assert v.value.tolist() == [3.0, 4.0]
        v.assign_add([1.0, 1.0])
        scope.add_update((v, v.value * 2))
    assert scope.get_current_value(v).tolist() == [8.0, 10.0]
    assert scope.get_current_value(carnyx.Variable(0.0)) is None
    assert v.numpy().tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"StatelessScope.*other shapes.*\(2,\)"):
        carnyx.StatelessScope([(v, np.zeros(3))])


def block(seed):
    carnyx.utils.set_random_seed(seed)
    return carnyx.Sequential(
        [
            carnyx.Input((4,)),
            layers.Dense(8, "tanh", activity_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=3),
        ]
    )


@pytest.mark.parametrize("inside_pure", [False, True])
def test_remat_is_the_plain_call(inside_pure):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    found = []
    for wrap in (lambda f: f, remat):
        model = block(5)

        def loss(model=model, wrap=wrap):
            out = wrap(lambda x: model(x, training=True))(x)
            return jnp.sum(out**2) + sum(model.losses)

        run = value_and_grad(loss, model.trainable_variables)
        if inside_pure:
            values = [v.value for v in model.variables]
            (value, gradients), new = jax.jit(pure(run, model.variables))(values)
        else:
            (value, gradients), new = run(), [v.numpy() for v in model.variables]
        assert not np.array_equal(new[-1], [3, 0]) or not inside_pure
        found.append([value, *gradients, *new])
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(plain, again, rtol=1e-5, atol=1e-6)


def test_remat_computes_twice():
    text = str(jax.make_jaxpr(jax.grad(remat(lambda x: jnp.sin(jnp.sin(x)))))(1.0))
    assert text.count(" sin ") > str(
        jax.make_jaxpr(jax.grad(lambda x: jnp.sin(jnp.sin(x))))(1.0)
    ).count(" sin ")


def test_policies_by_path():
    policies = carnyx.dtype_policies.DTypePolicyMap("float32", {"in.*": "mixed_bfloat16"})
    inner, outer = (layers.Dense(2, dtype=policies, name=n) for n in ("inner", "outer"))
    assert inner.compute_dtype == "bfloat16" and outer.compute_dtype == "float32"
    assert inner(np.ones((1, 3))).dtype == jnp.bfloat16
    twin = layers.Dense.from_config(inner.get_config())
    assert twin.compute_dtype == "bfloat16" and twin.get_config() == inner.get_config()
    policies["other"] = "float16"
    assert dict(policies)["other"].name == "float16"
    with pytest.raises(ValueError, match="has a policy"):
        policies["other"] = "float32"
    with pytest.raises(ValueError, match="several keys"):
        carnyx.dtype_policies.DTypePolicyMap(None, {"a.*": "float32", ".*": "float16"})["ab"]


def test_limits_of_training():

    model = carnyx.Sequential([carnyx.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((64, 2), "float32"), np.ones((64, 1), "float32")
    try:
        carnyx.config.set_max_epochs(2)
        carnyx.config.set_max_steps_per_epoch(3)
        history = model.fit(x, y, epochs=5, batch_size=8, verbose=0)
        assert history.epoch == [0, 1] and history.params["steps"] == 3
        assert len(model.predict(x, batch_size=8, verbose=0)) == 24
    finally:
        carnyx.config.set_max_epochs(None)
        carnyx.config.set_max_steps_per_epoch(None)
    with pytest.raises(ValueError, match="set_max_epochs"):
        carnyx.config.set_max_epochs(0)


def test_settings():
    config = carnyx.config
    config.disable_flash_attention()
    assert not config.is_flash_attention_enabled()
    config.enable_flash_attention()
    assert config.is_flash_attention_enabled()
    config.disable_interactive_logging()
    assert not config.is_interactive_logging_enabled()
    config.enable_interactive_logging()
    before = config.is_traceback_filtering_enabled()
    config.disable_traceback_filtering()
    assert not config.is_traceback_filtering_enabled()
    config.enable_traceback_filtering()
    assert config.is_traceback_filtering_enabled()
    if not before:
        config.disable_traceback_filtering()
    with pytest.warns(UserWarning, match="never runs code"):
        config.enable_unsafe_deserialization()
    with pytest.raises(ValueError, match="torch"):
        config.set_backend("torch")


def test_function_of_jax_with_state_and_randomness():
    def init_fn(rng, inputs):
        w = jax.random.normal(rng, (inputs.shape[-1], 3))
        return {"dense": {"w": w}, "b": [jnp.zeros(3)]}, {"calls": jnp.zeros((), "int32")}

    def call_fn(params, state, rng, inputs, training):
        out = inputs @ params["dense"]["w"] + params["b"][0]
        if training:
            out = out * jax.random.bernoulli(rng, 0.5, out.shape)
        return out, {"calls": state["calls"] + 1}

    layer = layers.JaxLayer(call_fn, init_fn, seed=1, name="f")
    model = carnyx.Sequential([carnyx.Input((4,)), layer])
    assert model.output_shape == (None, 3)
    assert {w.name for w in layer.trainable_weights} == {"params_dense_w", "params_b_0"}
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    before = layer.params["dense"]["w"].numpy()
    model.fit(x, np.ones((32, 3), "float32"), batch_size=8, epochs=2, verbose=0)
    assert int(layer.state["calls"]) == 8
    assert not np.array_equal(before, layer.params["dense"]["w"].numpy())
    expected = x @ layer.params["dense"]["w"].numpy() + layer.params["b"][0].numpy()
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_function_of_jax_mistakes():
    with pytest.raises(ValueError, match=r"JaxLayer 'f'.*call_fn.*\['x'\]"):
        layers.JaxLayer(lambda x: x, params=1.0, name="f")
    with pytest.raises(ValueError, match="params must be given"):
        layers.JaxLayer(lambda params, inputs: inputs)
