"""Trainer and the public Model, Functional and Sequential: compile, fit, evaluate, predict.

Here the two halves meet: the networks of `core/graph.py` and the steps and loop of `step.py` and
`loop.py`. How batches are made is in `data/`, what callbacks do in `callbacks.py`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from carnyx.core import dtypes, errors, state, symbol
from carnyx.core.config import public
from carnyx.core.graph import FunctionalGraph, Network, SequentialGraph
from carnyx.core.settings import settings
from carnyx.data.adapters import adapt, split
from carnyx.data.batches import OutOfData
from carnyx.data.checks import is_stream, refuse_batches, to_arrays
from carnyx.program.cost import costs
from carnyx.save.state_tree import set_state_tree, state_tree
from carnyx.train.callbacks import CallbackList, History
from carnyx.train.loop import Executor, Observer
from carnyx.train.lr_finder import LearningRates, sweep
from carnyx.train.objective import Objective
from carnyx.train.run import Run
from carnyx.train.step import Signature, trace_step

if TYPE_CHECKING:
    from carnyx.train.profile import Profile


class Trainer(Network):
    """What `compile` adds to a network: an objective, an optimizer and the ways to run them."""

    optimizer: Any = None
    history: Any = None
    stop_training = False
    _objective: Objective | None = None
    _executor: Executor | None = None
    _fitting: Run | None = None  # the `fit` in progress
    _engine: str | None = None
    _steps_per_execution: Any = "auto"
    run_eagerly = False

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        engine: str | None = None,
    ) -> None:
        """Sets what training minimises, how, and what it measures.

        Args:
            optimizer: a name or an Optimizer.
            loss: a name, a Loss or a function (y_true, y_pred) -> loss; a list or dict of these
                for several outputs.
            loss_weights: factors of the outputs' losses, in a list or dict.
            metrics, weighted_metrics: names, Metrics or functions; the weighted ones take the
                sample weights into account.
            run_eagerly: run `train_step` line by line, for debugging with print and pdb.
            steps_per_execution: how many steps run in one compiled call; "auto" measures. Every
                step's own logs reach the callbacks whatever it is.
            jit_compile: kept for Keras's signature: every engine compiles the whole step.
            auto_scale_loss: scale the loss under a mixed_float16 policy.
            engine: "xla" or "numpy"; None takes `carnyx.config.engine()`.
        """
        optimizers = public("optimizers")
        self.optimizer = None if optimizer is None else optimizers.get(optimizer)
        half = self.dtype_policy.name == "mixed_float16"
        scaled = isinstance(self.optimizer, optimizers.LossScaleOptimizer)
        if auto_scale_loss and half and self.optimizer is not None and not scaled:
            self.optimizer = optimizers.LossScaleOptimizer(self.optimizer)
        self._objective = Objective(loss, loss_weights, metrics, weighted_metrics)
        self.run_eagerly = run_eagerly
        if steps_per_execution != "auto" and int(steps_per_execution) < 1:
            raise ValueError(
                f"compile(): steps_per_execution is 'auto' or a whole number from 1. "
                f"Received: {steps_per_execution!r}"
            )
        self._steps_per_execution = steps_per_execution
        self._engine = engine
        self._executor = None
        self.stop_training = False

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: all but what is compiled, which is made anew when needed."""
        return {**self.__dict__, "_executor": None, "_fitting": None}

    @property
    def compiled(self) -> bool:
        return self._objective is not None

    @property
    def loss(self) -> Any:
        return self._objective.given[0] if self._objective else None

    def _flops(self) -> dict[str, int] | None:
        if self._input_struct is None:
            return None
        tensors = symbol.symbols(self._input_struct)
        if any(size is None for t in tensors for size in t.shape[1:]):
            return None
        one = symbol.substitute(
            self._input_struct, lambda t: jax.ShapeDtypeStruct((1, *t.shape[1:]), t.dtype)
        )
        step = trace_step(self, Signature.of("predict", one, 1))
        return {layer: cost.flops for layer, cost in costs(step.program).items() if layer}

    @property
    def optimizers(self) -> list[Any]:
        """The optimizer that `compile` was given, and those in attributes of a user's model."""
        own = self._owned(lambda value: isinstance(value, public("optimizers").Optimizer))
        given = [] if self.optimizer is None else [self.optimizer]
        return list({id(o): o for o in [*given, *own]}.values())

    # ---- metrics

    @property
    def metrics(self) -> list[Any]:
        """Every metric that the logs show, those of the model's own attributes included."""
        known = self._objective.all_metrics if self._objective else []
        own = self._owned(lambda value: isinstance(value, public("metrics").Metric))
        return list({id(m): m for m in [*known, *own]}.values())

    @property
    def metrics_names(self) -> list[str]:
        return [metric.name for metric in self.metrics]

    @property
    def metrics_variables(self) -> list[Any]:
        return [v for metric in self.metrics for v in metric.variables]

    def reset_metrics(self) -> None:
        """Starts every metric anew."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """Name -> value of every metric now."""
        results: dict[str, Any] = {}
        for metric in self.metrics:
            value = metric.result()
            results.update(value if isinstance(value, dict) else {metric.name: value})
        return dict(sorted(results.items()))

    # ---- one step: what a user may override

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of training on a batch `(x, y, sample_weight)`; returns the logs."""
        x, y, sample_weight = data

        def forward() -> tuple[Any, Any]:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            scaled = loss if self.optimizer is None else self.optimizer.scale_loss(loss)
            return scaled, (loss, y_pred)

        trainable = self.trainable_variables
        (_, (loss, y_pred)), gradients = state.value_and_grad(forward, trainable, has_aux=True)()
        if trainable:
            self.optimizer.apply(gradients, trainable)
        else:
            warnings.warn(f"Model '{self.name}' has no trainable weights.", stacklevel=2)
        self._compiled.track(loss, y_pred)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of evaluation; returns the logs."""
        x, y, sample_weight = data
        y_pred = self(x, training=False)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=False)
        self._compiled.track(loss, y_pred)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """The outputs for a batch."""
        x = data[0] if isinstance(data, tuple) else data
        return self(x, training=False)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The scalar that training minimises: the compiled losses and the layers' own."""
        total = self._compiled.loss(y, y_pred, sample_weight)
        added = [jax.numpy.sum(value) for value in self.losses]
        if total is None and not added:
            raise ValueError(
                f"Model '{self.name}' has nothing to minimise: compile() it with a loss, or add "
                "one in a layer with add_loss()."
            )
        return sum(added, start=0.0 if total is None else total)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Updates the compiled metrics with a batch; returns all results."""
        self._compiled.update(y, y_pred, sample_weight)
        return self.get_metrics_result()

    # ---- loops

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Any = 1,
    ) -> History:
        """Trains for `epochs` passes over the data; returns the History of the logs.

        Args:
            x, y: arrays (or structures of arrays) with the same first size, or a generator of
                `(x, y)` or `(x, y, sample_weight)` batches as `x`.
            batch_size: rows of one step, 32 by default; not for generators.
            epochs: the epoch to end with; it starts at `initial_epoch`.
            verbose: 0 silent, 1 a bar, 2 a line an epoch, "auto".
            callbacks: objects that are called at every event.
            validation_split: the fraction in (0, 1) of the last rows kept for validation.
            validation_data: `(x, y)` or `(x, y, sample_weight)`, or a generator.
            shuffle: whether rows change places each epoch.
            class_weight: label -> weight of its rows in the loss.
            sample_weight: an array of row weights.
            steps_per_epoch, validation_steps: batches of an epoch; needed for endless generators.
            validation_batch_size: like batch_size.
            validation_freq: validate every so many epochs, or after these epochs.
        """
        self._check_compiled("fit")
        _check_epochs(epochs, initial_epoch)
        epochs = min(epochs, settings["max_epochs"] or epochs)
        steps_per_epoch = _limited(steps_per_epoch)
        self._refuse_batches(x, y, "fit")
        if validation_split:
            x = self._read(x, "fit(): x")
            (x, y, sample_weight), held_out = split(x, y, sample_weight, validation_split)
            validation_data = held_out if validation_data is None else validation_data
        source = adapt(
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            shuffle=shuffle,
            class_weight=class_weight,
            steps_per_epoch=steps_per_epoch,
            where="fit",
            read=self._read,
        )
        self._prepare(source, "fit")
        validation = self._validation_source(
            validation_data, validation_batch_size or batch_size, validation_steps
        )
        callbacks = self._callbacks(callbacks, verbose, source, epochs=epochs, history=True)
        self.stop_training = False
        run = Run(self, source, validation, callbacks.callbacks, initial_epoch)
        with self._running(callbacks, run):
            self._train(run, callbacks, epochs, validation_freq)
        return self.history

    def _train(self, run: Run, callbacks: CallbackList, epochs: int, due: Any) -> None:
        """The epochs of `fit`: train, validate, tell the callbacks."""
        callbacks.on_train_begin()
        run.resume()
        logs = run.logs
        for epoch in range(run.epoch, epochs):
            if run.stopped and not run.batch:
                break
            callbacks.on_epoch_begin(epoch)
            run.begin_epoch()
            try:
                logs = self._epoch("train", run.source, callbacks, epoch, run)
            except OutOfData as error:
                if epoch == run.first:
                    raise
                after = errors.count(epoch, "epoch")
                warnings.warn(f"{error} Training ends after {after}.", stacklevel=3)
                break
            if run.validation is not None and _due(epoch, due):
                found = self._epoch("test", run.validation, callbacks, epoch)
                logs |= {f"val_{name}": value for name, value in found.items()}
            callbacks.on_epoch_end(epoch, logs)
            run.end_epoch(logs)
            callbacks._at_rest(run)
            if self.stop_training:
                break
        if self.optimizer is not None:
            self.optimizer.finalize_variable_values(self.trainable_variables)
        callbacks.on_train_end(logs)

    @contextlib.contextmanager
    def _running(self, callbacks: CallbackList, run: Run | None = None) -> Iterator[None]:
        """Whatever ends a loop, the live bar is taken away and the data let go of."""
        outer, self._fitting = self._fitting, run or self._fitting
        try:
            yield
        finally:
            self._fitting = outer
            self.executor.forget_data()
            callbacks._release()

    def profile(
        self,
        x: Any,
        y: Any = None,
        steps: int = 20,
        callbacks: Any = None,
        **fit: Any,
    ) -> Profile:
        """Trains on the data and says where a step's time goes; print it for a table.

        At least `steps` steps run, after a first epoch that compiles; afterwards weights, optimizer
        and metrics are what they were after that epoch. `fit` are further arguments of `fit`, such
        as batch_size.

        Raises UnsupportedError where the engine cannot be measured.
        """
        from carnyx.train.profile import profile

        return profile(self, x, y, steps, callbacks, fit)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **_: Any,
    ) -> Any:
        """The loss and the metrics over the data: a number, a list, or (`return_dict`) a dict."""
        self._check_compiled("evaluate")
        self._refuse_batches(x, y, "evaluate")
        steps = _limited(steps)
        source = adapt(
            x,
            y,
            sample_weight,
            batch_size=batch_size,
            steps_per_epoch=steps,
            where="evaluate",
            read=self._read,
        )
        self._prepare(source, "evaluate")
        callbacks = self._callbacks(callbacks, verbose, source)
        with self._running(callbacks):
            logs = self._epoch("test", source, callbacks, 0)
        return logs if return_dict else self._listed(logs)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for the data, as NumPy arrays with one row for each row of `x`."""
        steps = _limited(steps)
        quick = verbose == 0 and callbacks is None and steps is None
        numbers = isinstance(x, np.ndarray) and x.dtype.kind not in "OSTU"
        if quick and numbers and 0 < len(x) <= (batch_size or 32):
            return self._predict_batch(x)
        source = adapt(
            x, batch_size=batch_size, steps_per_epoch=steps, where="predict", read=self._read
        )
        if not self.built:
            self.build_from(source.peek()[0])
        callbacks = self._callbacks(callbacks, verbose, source)
        parts = []
        with self._running(callbacks):
            callbacks.on_predict_begin()
            for index, batch in enumerate(_batches(source)):
                callbacks.on_predict_batch_begin(index)
                parts.append(self._predict_batch(batch))
                callbacks.on_predict_batch_end(index, {"outputs": parts[-1]})
            callbacks.on_predict_end()
        return jax.tree.map(lambda *p: np.concatenate(p), *parts)

    def _predict_batch(self, x: Any) -> Any:
        """One batch through `predict_step`, with as little as possible around it."""
        if isinstance(x, np.ndarray) and x.dtype == np.float64:
            x = x.astype(dtypes.floatx())
        if not self.built:
            self.build_from(x)
        self._use_averages(True)
        if self.run_eagerly:
            return jax.tree.map(np.asarray, self.predict_step(x))
        return self.executor.predict(x)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step of training on these rows; returns the logs so far, like `evaluate`."""
        return self._on_batch("train", x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One step of evaluation on these rows."""
        return self._on_batch("test", x, y, sample_weight, None, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for these rows, in one batch."""
        x = self._read(x, "predict_on_batch(): x")
        return self._predict_batch(jax.tree.map(np.asarray, x))

    def _on_batch(
        self, mode: str, x: Any, y: Any, sample_weight: Any, class_weight: Any, as_dict: bool
    ) -> Any:
        where = f"{mode}_on_batch"
        self._check_compiled(where)
        x = self._read(x, f"{where}(): x")
        rows = len(jax.tree.leaves(x)[0])
        source = adapt(
            x, y, sample_weight, batch_size=max(rows, 1), class_weight=class_weight, where=where
        )
        self._prepare(source, where)
        last: dict[str, Any] = {}

        def keep(logs: dict[str, Any]) -> bool:
            last.update(logs)
            return True

        for segment in source.segments(0):
            self._run_segment(mode, segment, Observer(keep))
        self.executor.forget_data()
        logs = dict(sorted(last.items()))
        return logs if as_dict else self._listed(logs)

    def find_learning_rate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        min_rate: float = 1e-6,
        max_rate: float = 10.0,
        steps: int = 200,
        divergence: float = 4.0,
        seed: int = 0,
    ) -> LearningRates:
        """Trains a little with a rate that grows from step to step, and tells what the loss did.

        Step i of `steps` has the rate min_rate (max_rate / min_rate)^(i / (steps - 1)). The sweep
        ends early when the smoothed loss is `divergence` times its least value, or not finite.
        Weights, optimizer, metrics and random seeds are afterwards what they were; batches that a
        generator gave are gone. Smith (2015). Keras has no such method.

        Args:
            x, y, batch_size, sample_weight, class_weight: as for `fit`; whole batches are drawn
                in an order that `seed` decides.

        >>> import carnyx
        >>> model = carnyx.Sequential([carnyx.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> found = model.find_learning_rate(x, 3 * x, steps=60)
        >>> len(found.rates) == len(found.losses) <= 60, found.suggestion < 10
        (True, True)
        """
        return sweep(
            self,
            x,
            y,
            batch_size=batch_size,
            sample_weight=sample_weight,
            class_weight=class_weight,
            min_rate=min_rate,
            max_rate=max_rate,
            steps=steps,
            divergence=divergence,
            seed=seed,
        )

    # ---- parts of the loops

    @property
    def executor(self) -> Executor:
        """What compiles and runs the steps, on the engine that `compile` was told."""
        if self._executor is None:
            self._executor = Executor(self, self._engine)
        return self._executor

    def _epoch(
        self, mode: str, source: Any, callbacks: CallbackList, epoch: int, run: Run | None = None
    ) -> dict[str, Any]:
        """One pass over the data, of which a `run` may have done a part; returns the last logs."""
        index, last = (run.batch, run.logs) if run and run.batch else (0, {})
        if not index:
            self.reset_metrics()
        begin = getattr(callbacks, f"on_{mode}_batch_begin")
        end = getattr(callbacks, f"on_{mode}_batch_end")
        if mode == "test":
            callbacks.on_test_begin()

        def after(logs: dict[str, Any]) -> bool:
            nonlocal index, last
            last = logs
            if run:
                run.step(logs)
            end(index, logs)
            index += 1
            return not self.stop_training

        observer = Observer(
            after,
            before=lambda: begin(index),
            until_look=lambda: callbacks.steps_until_look(mode),
            at_rest=lambda: callbacks._at_rest(run) if run else None,
        )
        self.executor.keep_data(source.arrays)
        for segment in () if run and run.stopped else source.segments(epoch):
            if not self._run_segment(mode, segment, observer):
                break
        if not last:
            raise ValueError(f"{source!r} gave no batch: there is nothing to {mode} on.")
        last = dict(sorted(last.items()))
        if mode == "test":
            callbacks.on_test_end(last)
        return last

    def _run_segment(self, mode: str, segment: Any, observer: Observer) -> bool:
        self._use_averages(mode != "train")
        if not self.run_eagerly:
            fixed = self._steps_per_execution
            fixed = None if fixed == "auto" else int(fixed)
            return self.executor.run(mode, segment, observer, fixed)
        step = self.train_step if mode == "train" else self.test_step
        for batch in _segment_batches(segment):
            observer.before()
            logs = step(jax.tree.map(jax.numpy.asarray, batch))
            go_on = observer.after({k: np.asarray(v).tolist() for k, v in logs.items()})
            observer.at_rest()
            if not go_on:
                return False
        return True

    def _use_averages(self, yes: bool) -> None:
        """Has the optimizer put the weights of evaluation, or of training, in place."""
        if self.optimizer is not None:
            self.optimizer.use_averages(yes)

    def _prepare(self, source: Any, where: str) -> None:
        """Builds the model, the optimizer and the metrics for this data, and checks the targets."""
        x, y, _ = source.peek()
        y_pred = self._output_spec(x)
        objective = self._compiled
        names = self._output_names(y_pred)
        if not objective.built:
            objective.build(names, _specs(y), y_pred)
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        if where != "evaluate" and not all(o.built for o in self.optimizers):
            # which weights they train is in train_step: a dry run builds them
            with state.Scope(permissive=True):
                jax.eval_shape(self.train_step, source.peek())
        outputs = symbol.symbols(y_pred)
        checked = y if source.arrays is None else source.arrays[1]
        for name, loss, target, output in zip(
            names, objective.losses, objective.per_output(checked, "y"), outputs, strict=True
        ):
            if loss is None or not hasattr(loss, "check"):
                continue
            if target is None:
                raise ValueError(
                    f"{where}(): loss {getattr(loss, 'name', loss)!r} needs targets, and `y` is "
                    f"missing for output '{name}'. Pass y, or compile without a loss."
                )
            loss.check(target, output.shape, where, name)

    def _refuse_batches(self, x: Any, y: Any, where: str) -> None:
        """Where a loss needs targets, a list of batches is no structure of inputs."""
        own = ("train_step", "test_step", "compute_loss")
        plain = all(getattr(type(self), name) is getattr(Trainer, name) for name in own)
        if plain and y is None and self.loss is not None:
            refuse_batches(x, where)

    def _output_spec(self, x: Any) -> Any:
        """KerasTensors like the outputs; builds the model when it is not built yet."""
        struct = getattr(self, "_output_struct", None)
        if struct is None or type(self).call not in (FunctionalGraph.call, SequentialGraph.call):
            return self.build_from(x)
        self._located(lambda args, _: self._values(args[0], None), (self.placeholders(x),), {})
        return struct

    def _read(self, x: Any, what: str) -> Any:
        """`x`, its strings read by the layers that begin the model (see `core/texts.py`)."""
        if self._cut() is None or x is None or is_stream(x):
            return x
        return self.read_texts(to_arrays(x, what, texts=True))

    def _output_names(self, y_pred: Any) -> list[str]:
        if isinstance(y_pred, dict):
            return sorted(y_pred)
        tensors = symbol.symbols(y_pred)
        names = [t.node.operation.name if t.node else "" for t in tensors]
        if all(names) and len(set(names)) == len(names):
            return names
        return [f"output_{i + 1}" for i in range(len(tensors))] if len(tensors) > 1 else ["output"]

    def _validation_source(self, data: Any, batch_size: int | None, steps: int | None) -> Any:
        if data is None:
            return None
        if not isinstance(data, (tuple, list)):
            source = adapt(
                data, steps_per_epoch=steps, where="fit", validation=True, read=self._read
            )
        elif len(data) not in (2, 3):
            raise ValueError(
                "fit(): validation_data is (x, y) or (x, y, sample_weight). "
                f"Received {errors.count(len(data), 'part')}."
            )
        else:
            settings: Any = {"batch_size": batch_size, "steps_per_epoch": steps, "where": "fit"}
            source = adapt(*data, **settings, validation=True, read=self._read)
        self._prepare(source, "fit")
        return source

    def _callbacks(
        self, callbacks: Any, verbose: Any, source: Any, epochs: int = 1, history: bool = False
    ) -> CallbackList:
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(
                callbacks,
                add_history=history,
                add_progbar=verbose != 0,
                model=self,
                verbose=verbose,
                epochs=epochs,
                steps=source.steps,
            )
        return callbacks

    def _listed(self, logs: dict[str, Any]) -> Any:
        names = [n for m in self.metrics for n in (m.name,) if n in logs]
        values = [logs[name] for name in names] + [v for k, v in logs.items() if k not in names]
        return values[0] if len(values) == 1 else values

    @property
    def _compiled(self) -> Objective:
        self._check_compiled("the step")
        assert self._objective is not None
        return self._objective

    def _check_compiled(self, where: str) -> None:
        if self._objective is None:
            raise ValueError(
                f"{where}(): model '{self.name}' is not compiled. Call "
                "model.compile(optimizer=..., loss=...) first."
            )

    # ---- values and files

    def get_state_tree(self, value_format: str = "backend_tensor") -> dict[str, Any]:
        """All values as dicts nested by the variables' paths: the groups "trainable_variables",
        "non_trainable_variables", "optimizer_variables" and "metrics_variables".

        `value_format` "numpy_array" makes copies.
        """
        return state_tree(self, value_format)

    def set_state_tree(self, state_tree: dict[str, Any]) -> None:
        """Assigns what `get_state_tree` gave, or some of its groups."""
        set_state_tree(self, state_tree)

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was given, as plain data; None before it."""
        return public("save").compile_config(self)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with what `get_compile_config` gave, and builds the optimizer."""
        public("save").compile_from_config(self, config)

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Writes the whole model to a `.keras` file that Keras reads too."""
        public("save").save_model(self, filepath, overwrite, zipped, **kwargs)

    def to_json(self, **kwargs: Any) -> str:
        """What the model is made of, without weights; `kwargs` are those of `json.dumps`."""
        return public("save").to_json(self, **kwargs)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Writes the weights to a `.weights.h5` file that Keras reads too."""
        public("save").save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False) -> None:
        """Reads them back, or those of an Orbax checkpoint."""
        public("save").load_weights(self, filepath, skip_mismatch)


def _limited(steps: int | None) -> int | None:
    """The number of steps under the global limit."""
    limit = settings["max_steps_per_epoch"]
    return steps if limit is None else min(limit, steps or limit)


def _check_epochs(epochs: Any, initial_epoch: Any) -> None:
    for name, value, least in (("epochs", epochs, 1), ("initial_epoch", initial_epoch, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(
                f"fit(): {name} is a whole number from {least}. Received: {name}={value!r}"
            )


def _due(epoch: int, frequency: Any) -> bool:
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return (epoch + 1) in frequency


def _segment_batches(segment: Any) -> Any:
    for i in range(segment.first, segment.steps):
        rows = segment.order[i * segment.batch_size : (i + 1) * segment.batch_size]
        yield jax.tree.map(lambda a, rows=rows: a[rows], segment.data)


def _batches(source: Any) -> Any:
    """The inputs of each batch of a source, in order."""
    for segment in source.segments(0):
        for x, _, _ in _segment_batches(segment):
            yield x


def _specs(y: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), y)


class Model(Trainer):
    """A model: subclass it and define `call`, or make one with `Model(inputs, outputs)`.

    >>> import carnyx
    >>> inputs = carnyx.Input((4,))
    >>> model = carnyx.Model(inputs, carnyx.layers.Dense(2)(inputs))
    >>> model.output_shape
    (None, 2)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and (len(args) >= 2 or "inputs" in kwargs or "outputs" in kwargs):
            return Functional.__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        if cls is Model and {"layers", "input_layers", "output_layers"} <= set(config):
            return Functional.from_config(config, custom_objects)
        return super().from_config(config)


class Functional(FunctionalGraph, Model):
    """A model that is a graph from inputs to outputs."""

    keras_module = "keras.src.models.functional"


class Sequential(SequentialGraph, Model):
    """A model that is a list of layers."""
