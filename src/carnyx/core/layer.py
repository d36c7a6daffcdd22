"""Layer: a function with weights. Building, calling, masks, losses and the search for variables.

What a layer owns is found by looking at its attributes when it is asked for, so there is no
bookkeeping on assignment: any Variable, Layer, metric or seed generator in an attribute, or in a
list, tuple or dict of one, is found. Models are in `graph.py`; configs in `config.py`.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from carnyx.core import dtypes, errors, state, symbol
from carnyx.core.config import public, snake_case, unique_name
from carnyx.core.fields import tail
from carnyx.core.state import context
from carnyx.core.variable import Variable

# Constructor arguments of the base class that every layer's config holds; the others only when
# they were given or when the layer's own signature names them.
BASE_CONFIG = ("name", "trainable", "dtype")

_PLAIN = (bool, int, float, str, type(None))  # of these no attribute holds a variable


class InputSpec:
    """What a layer accepts: dtype, shape, number of axes, sizes of some axes.

    >>> InputSpec(min_ndim=2, axes={-1: 8}).axes
    {-1: 8}
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = None if dtype is None else dtypes.standardize_dtype(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}
        self.allow_last_axis_squeeze, self.name, self.optional = (
            allow_last_axis_squeeze,
            name,
            optional,
        )

    def mismatch(self, shape: tuple[int | None, ...]) -> str | None:
        """What is wrong with an input of this shape, or None."""
        rank = len(shape)
        if self.ndim is not None and rank != self.ndim:
            return f"expected {self.ndim} axes, batch included, and received {rank}"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"expected at least {self.min_ndim} axes, batch included, and received {rank}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"expected at most {self.max_ndim} axes, batch included, and received {rank}"
        wanted = dict(self.axes)
        if self.shape is not None:
            wanted.update(dict(enumerate(self.shape)))
        for axis, size in wanted.items():
            if size is not None and shape[axis] not in (size, None):
                return f"expected axis {axis} to have size {size} and received {shape[axis]}"
        return None


class Call:
    """One layer call in progress: whose it is and whether it trains."""

    __slots__ = ("layer", "training")

    def __init__(self, layer: Any, training: bool | None) -> None:
        self.layer, self.training = layer, training

    def __enter__(self) -> Call:
        context.calls.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        context.calls.pop()
        context.settle()


@functools.cache
def call_parameters(function: Any) -> dict[str, Any]:
    """The parameters of a call or build method, without self."""
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    return parameters


@tail
class LayerOptions:
    """What type checkers shall know of `Layer`'s constructor, which takes these by keyword."""

    name: str | None = None
    trainable: bool = True
    dtype: Any = None
    autocast: bool = True
    activity_regularizer: Any = None
    input_shape: Any = None
    batch_input_shape: Any = None
    batch_size: Any = None
    input_dim: Any = None
    input_length: Any = None
    input_dtype: Any = None


class Layer(LayerOptions, symbol.Operation):
    """Base of all layers: override `__init__`, `build(input_shape)` and `call(inputs)`.

    Args:
        activity_regularizer: a penalty on the outputs, added to `losses`.
        trainable: whether the weights are updated in training.
        dtype: a dtype name or `DTypePolicy`; None takes the global policy.
        autocast: whether float inputs and weights are cast to the policy's compute type.
        name: unique in a model; made from the class name when None.
        input_shape, batch_input_shape, input_dim: for the first layer of a Sequential.

    >>> import carnyx
    >>> class Scale(carnyx.Layer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
    ...
    ...     def call(self, inputs):
    ...         return inputs * self.scale
    >>> layer = Scale()
    >>> layer(np.ones((2, 3), "float32")).shape, [w.path for w in layer.weights]
    ((2, 3), ['scale/scale'])
    """

    name: str
    supports_masking = False
    input_spec: Any = None
    ignored: tuple[str, ...] = ()  # arguments of older Keras versions, which have no effect
    _building = False
    _remat: Any = None  # the RematScope that the layer was made in
    _build_config: dict[str, Any] | None = None

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.name = name if name is not None else unique_name(snake_case(type(self).__name__))
        if not isinstance(self.name, str) or "/" in self.name:
            raise ValueError(f"A layer's name is a string without '/'. Received: name={name!r}")
        self._batch_shape = _first_layer_shape(kwargs)
        self._input_dtype = kwargs.pop("input_dtype", None)
        for old in self.ignored:
            kwargs.pop(old, None)
        if kwargs:
            bad = next(iter(kwargs))  # a base's constructor may have an argument of this name
            known = [p for c in type(self).__mro__ for p in _init_names(c) if p != bad]
            raise ValueError(
                f"{type(self).__name__} (layer '{self.name}') has no argument {bad!r}."
                f"{errors.nearest(bad, known)}"
            )
        self.activity_regularizer = (
            None
            if activity_regularizer is None
            else public("regularizers").get(activity_regularizer)
        )
        self.dtype_policy = dtype
        self.path = state.current_path(self.name)
        self.autocast = autocast
        if context.remat:
            self._remat = context.remat[-1]
        self.built = False
        self._trainable = bool(trainable)
        self._weights: list[Variable] = []
        self._losses: list[Any] = []
        self._nodes: list[symbol.Node] = []

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = _complete_build(vars(cls)["build"])  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) not in _PLAIN:
            state.Changes.count += 1
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        state.Changes.count += 1
        object.__delattr__(self, name)

    # ---- what a subclass overrides

    def build(self, input_shape: Any) -> None:
        """Makes the weights; `input_shape` has None for unknown sizes."""
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The mathematics, from inputs to outputs."""
        raise NotImplementedError(
            f"Layer '{self.name}' ({type(self).__name__}) has no call() method. Define one."
        )

    # ---- weights

    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Makes a Variable that belongs to this layer.

        `initializer` is a name, an Initializer or a callable; by default "glorot_uniform" for
        floats and "zeros" for the rest.
        """
        self._check_initialised()
        shape = () if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
        if any(size is None for size in shape):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}) cannot make weight {name!r} of "
                f"unknown size: shape={shape}. Give the input a known size on that axis."
            )
        dtype = self.variable_dtype if dtype is None else dtypes.standardize_dtype(dtype)
        if initializer is None:
            initializer = "glorot_uniform" if dtypes.is_float(dtype) else "zeros"
        variable = Variable(
            public("initializers").get(initializer),
            shape,
            dtype,
            trainable=trainable,
            autocast=autocast,
            aggregation=aggregation,
            name=name,
        )
        variable.regularizer = regularizer and public("regularizers").get(regularizer)
        variable.constraint = constraint and public("constraints").get(constraint)
        variable.overwrite_with_gradient = overwrite_with_gradient
        variable.trainable = trainable and self._trainable
        self._weights.append(variable)
        return variable

    def _owned(self, kind: Any) -> Iterator[Any]:
        """Objects of a kind in this layer's attributes and in containers there, in order."""
        self._check_initialised()
        for name, value in vars(self).items():
            if name not in ("_losses", "_nodes", "_recorded"):
                yield from _objects(value, kind)

    @property
    def layers(self) -> list[Any]:
        """The layers that are attributes of this one, each once, in order of assignment."""
        return list({id(layer): layer for layer in self._owned(Layer)}.values())

    def _flatten_layers(self, include_self: bool = True) -> list[Any]:
        """This layer and all below it, each once."""
        found: dict[int, Any] = {}

        def visit(layer: Layer, parents: tuple[int, ...]) -> None:
            if id(layer) in parents:
                raise ValueError(
                    f"Layer '{layer.name}' ({type(layer).__name__}) contains itself. "
                    "Layers form a tree: remove the attribute that closes the cycle."
                )
            found.setdefault(id(layer), layer)
            for child in layer.layers:
                visit(child, (*parents, id(layer)))

        visit(self, ())
        return list(found.values())[0 if include_self else 1 :]

    @property
    def variables(self) -> list[Variable]:
        """All variables: weights, then seeds, of this layer and those below, each once."""
        found: dict[int, Variable] = {}
        for layer in self._flatten_layers():
            own = list(layer._owned(Variable))
            ordered = sorted(own, key=lambda v: not v._created_trainable)
            seeds = [s for g in layer._owned(_is_seed_generator) for s in (g.state,)]
            found.update((id(v), v) for v in [*ordered, *seeds] if id(v) not in found)
        return list(found.values())

    @property
    def weights(self) -> list[Variable]:
        """The variables that are saved: all but random seeds and recurrent states."""
        return [v for v in self.variables if v.kind == "weight"]

    @property
    def trainable_variables(self) -> list[Variable]:
        return [v for v in self.variables if v.trainable]

    @property
    def non_trainable_variables(self) -> list[Variable]:
        return [v for v in self.variables if not v.trainable]

    @property
    def trainable_weights(self) -> list[Variable]:
        return [v for v in self.weights if v.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        return [v for v in self.weights if not v.trainable]

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._flatten_layers():
            layer._trainable = bool(value)
            for variable in layer._owned(Variable):
                variable.trainable = bool(value) and variable._created_trainable

    def get_weights(self) -> list[np.ndarray]:
        """The weights' values as NumPy arrays, in the order of `weights`."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Assigns the values that `get_weights` gave."""
        targets = self.weights
        if len(targets) != len(weights):
            raise ValueError(
                f"Layer '{self.name}' has {errors.count(len(targets), 'weight')} and was given "
                f"{len(weights)}: "
                f"{[v.path for v in targets]}"
            )
        for variable, value in zip(targets, weights, strict=True):
            if tuple(np.shape(value)) != variable.shape:
                raise ValueError(
                    f"Weight '{variable.path}' has shape {variable.shape} and was given a value "
                    f"of shape {tuple(np.shape(value))}. Nothing was assigned after it."
                )
            variable.assign(value)

    def count_params(self) -> int:
        """The number of numbers in the weights."""
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' has no weights yet, so they cannot be counted. Call it on "
                "data, or build() it with an input shape."
            )
        return sum(v.size for v in self.weights)

    def save_own_variables(self, store: Any) -> None:
        """Puts the values of this layer's own weights into a dict-like store, as "0", "1"..."""
        for index, variable in enumerate(self._own_weights()):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Takes them back."""
        own = self._own_weights()
        if len(own) != len(store.keys()):
            raise ValueError(
                f"Layer '{self.name}' has {errors.count(len(own), 'weight')} of its own, the file "
                f"{len(store.keys())}: {[v.path for v in own]} against {list(store.keys())}."
                + ("" if self.built else " The layer is not built: build() it first.")
            )
        for index, variable in enumerate(own):
            variable.assign(np.asarray(store[str(index)]))

    def _own_weights(self) -> list[Variable]:
        own = {id(v): v for v in self._owned(Variable) if v.kind == "weight"}
        return sorted(own.values(), key=lambda v: not v._created_trainable)

    # ---- types and config

    @property
    def dtype_policy(self) -> dtypes.DTypePolicy:
        """Which types weights are kept in and computed in; a map's entry for this layer's path."""
        policy = self._dtype_policy
        return policy[self.path] if isinstance(policy, dtypes.DTypePolicyMap) else policy

    @dtype_policy.setter
    def dtype_policy(self, policy: Any) -> None:
        self._dtype_policy = dtypes.get_policy(policy)

    @property
    def dtype(self) -> str:
        return self.dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        return self.dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        return self.dtype_policy.compute_dtype

    @property
    def input_dtype(self) -> str:
        return self.dtype_policy.compute_dtype

    def _config_value(self, name: str, recorded: Any, owner: type) -> Any:
        if name == "dtype":
            return self._dtype_policy
        if owner is Layer or name in BASE_CONFIG:
            return getattr(self, name, recorded)
        return super()._config_value(name, recorded, owner)

    def _in_config(self, name: str, value: Any, default: Any, owner: type) -> bool:
        return owner is not Layer or name in BASE_CONFIG or value is not default

    def get_build_config(self) -> dict[str, Any] | None:
        """What `build` was given."""
        return self._build_config

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds with what `get_build_config` gave."""
        if "input_shape" in config:
            self.build(_tuples(config["input_shape"]))
        elif config:
            self.build(**{key: _tuples(value) for key, value in config.items()})

    # ---- losses

    def add_loss(self, loss: Any) -> None:
        """Adds a scalar (or a list of them) made in `call` to the loss of training."""
        for value in loss if isinstance(loss, (list, tuple)) else [loss]:
            if context.scopes:
                context.scopes[-1].losses.append((self, value))
            else:
                self._losses.append(value)

    @property
    def losses(self) -> list[Any]:
        """What `add_loss` and the regularizers of this layer and those below added."""
        layers = self._flatten_layers()
        ids = {id(layer) for layer in layers}
        if context.scopes:
            added = [v for layer, v in context.scopes[-1].losses if id(layer) in ids]
        else:
            added = [v for layer in layers for v in layer._losses]
        penalties = [v.regularizer(v) for v in self.trainable_weights if v.regularizer is not None]
        return added + penalties

    # ---- calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check_initialised()
        if symbol.any_symbol(args, kwargs):
            return self._call_symbolic(args, kwargs)
        if not context.calls and not context.scopes:
            for layer in self._flatten_layers():
                layer._losses.clear()
        args, kwargs = self._convert((args, kwargs))
        return self._located(self._run, args, kwargs)

    def _call_symbolic(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        node = symbol.Node(self, args, kwargs)
        self._located(self._build_for, args, kwargs)
        outputs = self.compute_output_spec(*args, **kwargs)
        self._nodes.append(node)
        return node.bind(outputs)

    def _located(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls `function` under this layer's name; its errors leave with the layer's path."""
        with state.name_scope(self.name):
            try:
                return function(args, kwargs)
            except (ValueError, TypeError) as error:
                path = "/".join(context.names)
                errors.locate(error, path, type(self).__name__, args[0] if args else kwargs)
                raise
            except AttributeError as error:
                if not args or not errors.list_hint(args[0]):
                    raise
                found = TypeError("expected arrays and received a list of numbers.")
                errors.locate(found, "/".join(context.names), type(self).__name__, args[0])
                raise found from error

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        training = self._resolve_training(kwargs)
        self._add_masks(args, kwargs)
        self._build_for(args, kwargs)
        cast = self.compute_dtype if self.autocast else None
        with Call(self, training), state.autocast_scope(cast), jax.named_scope(self.name):
            if self._remat is None:
                outputs = self.call(*args, **kwargs)
            else:
                outputs = self._remat.call(self, args, kwargs)
            if self.activity_regularizer is not None:
                for leaf in jax.tree.leaves(outputs):
                    self.add_loss(self.activity_regularizer(leaf) / leaf.shape[0])
        self._mask_outputs(args, kwargs, outputs)
        return outputs

    def _build_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = dict(zip(call_parameters(type(self).call), args, strict=False)) | kwargs
        first = args[0] if args else next(iter(kwargs.values()), None)
        self._check_input(first)
        if self.built:
            return
        wanted = [
            p.name
            for p in call_parameters(type(self).build).values()
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        if len(wanted) == 1:
            self.build(_shapes(first))
        else:
            shapes = {f"{k}_shape": _shapes(v) for k, v in named.items() if v is not None}
            self.build(**{k: v for k, v in shapes.items() if k in wanted})
        self.built = True
        self._check_input(first)

    def _resolve_training(self, kwargs: dict[str, Any]) -> bool | None:
        """`training` as given, else the calling layer's, else call's default; None: "not given"."""
        training = kwargs.get("training")
        if training is None and context.calls:
            training = context.calls[-1].training
        parameters = call_parameters(type(self).call)
        if "training" in parameters:
            default = parameters["training"].default is True
            kwargs["training"] = default if training is None else bool(training)
        elif "training" in kwargs and not _takes_any_keyword(parameters):
            del kwargs["training"]
        return training

    def _add_masks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Passes the masks of tensor arguments on to `call` arguments that ask for them."""
        parameters = call_parameters(type(self).call)
        named = list(zip(parameters, args, strict=False)) + list(kwargs.items())
        for index, (name, value) in enumerate(named):
            for mask_name in (f"{name}_mask", "mask" if index == 0 else None):
                if mask_name in parameters and kwargs.get(mask_name) is None:
                    masks = jax.tree.map(state.get_mask, value)
                    if any(m is not None for m in jax.tree.leaves(masks)):
                        kwargs[mask_name] = masks

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the outputs: by default the input's, for layers that support masking."""
        if self.supports_masking:
            return previous_mask
        if any(m is not None for m in jax.tree.leaves(previous_mask)):
            warnings.warn(
                f"Layer '{self.name}' ({type(self).__name__}) does not support masking and was "
                "given a masked input: the mask ends here. Set supports_masking = True to pass it "
                "on, or take a `mask` argument in call().",
                stacklevel=3,
            )
        return None

    def _mask_outputs(self, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        previous = kwargs.get("mask")
        if previous is None:
            previous = jax.tree.map(state.get_mask, inputs)
        if not self._computes_masks() and not jax.tree.leaves(previous):
            return
        masks = self.compute_mask(inputs, previous)
        if masks is None:
            return
        leaves = jax.tree.leaves(outputs)
        flat = [masks] if not isinstance(masks, (list, tuple)) else list(masks)
        for tensor, mask in zip(leaves, flat, strict=False):
            if mask is not None and state.get_mask(tensor) is None and tensor is not inputs:
                state.set_mask(tensor, mask)

    def _computes_masks(self) -> bool:
        return type(self).compute_mask is not Layer.compute_mask

    def _check_input(self, inputs: Any) -> None:
        """Holds `inputs` against `input_spec`."""
        if self.input_spec is None:
            return
        specs = jax.tree.leaves(self.input_spec, is_leaf=lambda s: isinstance(s, InputSpec))
        leaves = jax.tree.leaves(inputs, is_leaf=symbol.is_symbol)
        if len(leaves) != len(specs):
            wanted = errors.count(len(specs), "input tensor")
            raise ValueError(f"expected {wanted} and received {len(leaves)}.")
        if isinstance(self.input_spec, InputSpec) and isinstance(inputs, (list, tuple)):
            raise ValueError("expected an array and received a list of one: pass the array itself.")
        for index, (spec, leaf) in enumerate(zip(specs, leaves, strict=True)):
            shape = tuple(getattr(leaf, "shape", ()))
            wrong = spec.mismatch(shape)
            if wrong:
                which = f" (input {index})" if len(specs) > 1 else ""
                raise ValueError(f"incompatible input{which}: {wrong}. Full shape: {shape}")

    def _convert(self, structure: Any) -> Any:
        """Arrays as JAX arrays, floats cast to the compute type when autocast is on."""
        cast = jnp.dtype(self.compute_dtype) if self.autocast else None

        def convert(leaf: Any) -> Any:
            if not hasattr(leaf, "dtype") and not isinstance(leaf, Variable):
                return leaf
            if not isinstance(leaf, jax.Array):
                if getattr(leaf.dtype, "kind", "") in ("O", "U", "S"):
                    return leaf
                leaf = jnp.asarray(leaf)
            if cast is not None and jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype != cast:
                mask = state.get_mask(leaf)
                leaf = leaf.astype(cast)
                if mask is not None:
                    state.set_mask(leaf, mask)
            return leaf

        return jax.tree.map(convert, structure)

    # ---- shapes

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """KerasTensors like the outputs, from KerasTensors, by abstract evaluation."""
        return symbol.infer(self, args, kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs' shapes from the inputs' shapes (None where unknown)."""
        tensors = [_placeholders(shape, self.compute_dtype) for shape in args]
        named = {
            key.removesuffix("_shape"): _placeholders(shape, self.compute_dtype)
            for key, shape in kwargs.items()
        }
        if "input" in named and "input" not in call_parameters(type(self).call):
            tensors.append(named.pop("input"))
        first = tensors[0] if tensors else next(iter(named.values()))
        if not self.built:
            self._located(self._build_for, (first,), {})
        outputs = self.compute_output_spec(*tensors, **named)
        return jax.tree.map(lambda t: t.shape, outputs, is_leaf=symbol.is_symbol)

    # ---- without side effects

    def stateless_call(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The call as a pure function: (outputs, new non-trainable values[, losses])."""
        trainable, rest = self.trainable_variables, self.non_trainable_variables

        def run() -> Any:
            outputs = self(*args, **kwargs)
            return (outputs, self.losses) if return_losses else (outputs, None)

        values = [*trainable_variables, *non_trainable_variables]
        (outputs, losses), new = state.pure(run, [*trainable, *rest])(values)
        tail = new[len(trainable) :]
        return (outputs, tail, losses) if return_losses else (outputs, tail)

    def _check_initialised(self) -> None:
        if "_weights" not in vars(self):
            raise RuntimeError(
                f"{type(self).__name__}.__init__ did not call super().__init__(). "
                "Make that its first line."
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _complete_build(build: Callable[..., Any]) -> Callable[..., Any]:
    """A subclass's build with what every build needs: the layer's name scope, the record of
    shapes for files, and the flag at the end."""

    @functools.wraps(build)
    def complete(self: Layer, *args: Any, **kwargs: Any) -> Any:
        self._check_initialised()
        if self._building:
            return build(self, *args, **kwargs)
        self._building = True
        names = context.names
        scope = [] if names and names[-1] == self.name else [self.name]
        try:
            context.names = [*names, *scope]
            self.path = "/".join(context.names)
            result = build(self, *args, **kwargs)
        finally:
            context.names = names
            self._building = False
        shapes = dict(zip(call_parameters(build), args, strict=False)) | kwargs
        if len(shapes) == 1:
            shapes = {"input_shape": next(iter(shapes.values()))}
        self._build_config = shapes
        self.built = True
        return result

    return complete


def _objects(value: Any, kind: Any) -> Iterator[Any]:
    if isinstance(value, kind) if isinstance(kind, type) else kind(value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _objects(item, kind)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _objects(item, kind)


def _is_seed_generator(value: Any) -> bool:
    return isinstance(getattr(type(value), "is_seed_generator", None), bool)


def _takes_any_keyword(parameters: dict[str, Any]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _init_names(cls: type) -> list[str]:
    init = vars(cls).get("__init__")
    if init is None or cls is object:
        return []
    return [p for p in inspect.signature(init).parameters if p not in ("self", "kwargs", "args")]


def _first_layer_shape(kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
    """The batch shape that `input_shape=...` and its relatives ask a Sequential to start with."""
    batch_size = kwargs.pop("batch_size", None)
    length = kwargs.pop("input_length", None)  # in Keras 2
    if "batch_input_shape" in kwargs:
        return tuple(kwargs.pop("batch_input_shape"))
    if "input_shape" in kwargs:
        shape = kwargs.pop("input_shape")
        return (batch_size, *((shape,) if isinstance(shape, int) else shape))
    if "input_dim" in kwargs:
        return (batch_size, kwargs.pop("input_dim"))
    return None if length is None else (batch_size, length)


def is_shape(value: Any) -> bool:
    """Whether a value is one shape: a tuple or list of ints and Nones."""
    return isinstance(value, (list, tuple)) and all(
        n is None or isinstance(n, (int, np.integer)) for n in value
    )


def _tuples(value: Any) -> Any:
    if is_shape(value):
        return tuple(value)
    return jax.tree.map(tuple, value, is_leaf=is_shape)


def _shapes(structure: Any) -> Any:
    return jax.tree.map(
        lambda leaf: tuple(getattr(leaf, "shape", ())), structure, is_leaf=symbol.is_symbol
    )


def _placeholders(shape: Any, dtype: str) -> Any:
    return jax.tree.map(
        lambda s: None if s is None else symbol.KerasTensor(s, dtype), shape, is_leaf=is_shape
    )
