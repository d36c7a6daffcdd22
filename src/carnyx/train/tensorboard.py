"""TensorBoard: the callback that writes what a training does as event files.

The files are written by the `tensorboard` package's own writer; it is imported when training
begins. `tensorboard --logdir logs` shows them.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from carnyx.core.config import serialize_object
from carnyx.core.graph import FunctionalGraph, SequentialGraph
from carnyx.train.hooks import Callback

IMAGES = 3  # pictures shown of one weight


class TensorBoard(Callback):
    """Writes scalars, histograms, images, the graph and profiles for TensorBoard.

    Runs are the folders `train` and `validation` of `log_dir`. Tags: `epoch_<name>` by the epoch,
    `batch_<name>` by the batch, `evaluation_<name>_vs_iterations` by the batches trained before,
    `<path>/histogram` and `<path>/image` of each weight by the epoch.

    Args:
        log_dir: the folder; it is made.
        histogram_freq: epochs between histograms of the weights; 0 for none.
        write_graph: whether the model's layers are shown as a graph.
        write_images: whether weights are shown as pictures too, with the histograms.
        write_steps_per_second: whether `epoch_steps_per_second` is written (and `batch_...`).
        update_freq: "epoch", "batch", or every so many batches: when logs of batches are written.
        profile_batch: a batch, counted from 1 in the first epoch, or a pair of them (first, last),
            to profile with JAX's profiler into `log_dir`; 0 for none.
        embeddings_freq, embeddings_metadata: epochs between writing what the projector shows of the
            Embedding layers, and a file of labels for each, as one path or {layer name: path}.

    Raises:
        ImportError: `tensorboard` is not installed.
    """

    def __init__(
        self,
        log_dir: Any = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: int | str = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        self.log_dir = Path(os.fspath(log_dir))
        self.histogram_freq, self.embeddings_freq = histogram_freq, embeddings_freq
        self.write_graph, self.write_images = write_graph, write_images
        self.write_steps_per_second = write_steps_per_second
        self.embeddings_metadata = embeddings_metadata
        every = {"epoch": 0, "batch": 1}.get(str(update_freq), update_freq)
        if not isinstance(every, int) or isinstance(every, bool) or every < 0:
            raise ValueError(
                "TensorBoard: update_freq is 'epoch', 'batch' or a number of batches from 1. "
                f"Received: {update_freq!r}"
            )
        self.update_freq, self._every = update_freq, every
        pair = profile_batch if isinstance(profile_batch, (tuple, list)) else (profile_batch,) * 2
        if len(pair) != 2 or not 0 <= pair[0] <= pair[1]:
            raise ValueError(
                "TensorBoard: profile_batch is a batch from 1, a pair (first, last), or 0. "
                f"Received: {profile_batch!r}"
            )
        self.profile_batch, self._profiled = profile_batch, tuple(pair)
        # Logs come after many steps; a profile must begin and end between two.
        self.sees_only_logs = not self._profiled[1]
        self._writers: dict[str, Any] = {}
        self._batches = 0
        self._profiling = False

    # ---- events

    def _write(self, run: str, summary: Any, step: int) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if run not in self._writers:
            self._writers[run] = EventFileWriter(str(self.log_dir / run))
        event = _proto("event").Event(wall_time=time.time(), step=step, summary=summary)
        self._writers[run].add_event(event)

    def _scalars(self, run: str, form: str, logs: dict[str, Any], step: int) -> None:
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in logs.items():
            if np.ndim(value) == 0:
                self._write(run, scalar_pb(form.format(name), float(value)), step)

    # ---- hooks

    def on_train_begin(self, logs: Any = None) -> None:
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise ImportError(
                "TensorBoard needs the package tensorboard: pip install tensorboard"
            ) from None
        self._batches = self._shown = 0
        self._since = time.perf_counter()
        if self.write_graph:
            self._write_graph()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._profiled[1] and self._batches + 1 == self._profiled[0]:
            jax.profiler.start_trace(str(self.log_dir))
            self._profiling = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batches += 1
        if self._profiling and self._batches == self._profiled[1]:
            self._end_profile()
        if self._every and self._batches % self._every == 0:
            shown = dict(logs or {})
            if self.write_steps_per_second:
                shown["steps_per_second"] = self._pace()
            self._scalars("train", "batch_{}", shown, self._batches)

    def _pace(self) -> float:
        """Steps a second since it was asked last."""
        now, steps = time.perf_counter(), self._batches - self._shown
        pace = steps / max(now - self._since, 1e-9)
        self._since, self._shown = now, self._batches
        return pace

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_start = time.perf_counter(), self._batches

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = dict(logs or {})
        held_out = {k[4:]: v for k, v in logs.items() if k.startswith("val_")}
        train = {k: v for k, v in logs.items() if not k.startswith("val_")}
        train["learning_rate"] = float(np.asarray(self.model.optimizer.learning_rate))
        if self.write_steps_per_second:
            began, before = self._epoch_start
            train["steps_per_second"] = (self._batches - before) / (time.perf_counter() - began)
        self._scalars("train", "epoch_{}", train, epoch)
        self._scalars("validation", "epoch_{}", held_out, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_test_end(self, logs: Any = None) -> None:
        if self._writers:  # in validation; after training the files are closed
            self._scalars("validation", "evaluation_{}_vs_iterations", logs or {}, self._batches)

    def on_train_end(self, logs: Any = None) -> None:
        self._end_profile()
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _end_profile(self) -> None:
        if self._profiling:
            jax.profiler.stop_trace()
            self._profiling = False

    # ---- weights, graph, embeddings

    def _write_weights(self, epoch: int) -> None:
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb

        for variable in self.model.trainable_variables:
            value = variable.numpy().astype("float64")
            self._write("train", histogram_pb(f"{variable.path}/histogram", value), epoch)
            if self.write_images:
                self._write("train", _image(f"{variable.path}/image", value), epoch)

    def _write_graph(self) -> None:
        """The model's config, which TensorBoard's graph page draws; subclassed models have none."""
        from tensorboard.plugins.graph import metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        if not isinstance(self.model, (FunctionalGraph, SequentialGraph)):
            return
        config = json.dumps(serialize_object(self.model), default=str)
        summary = _proto("summary").Summary()
        entry = summary.value.add(tag="keras", tensor=make_tensor_proto(config))
        entry.metadata.plugin_data.plugin_name = metadata.PLUGIN_NAME_KERAS_MODEL
        entry.metadata.plugin_data.content = b"1"
        self._write("train", summary, 0)

    def _write_embeddings(self, epoch: int) -> None:
        """Tables of numbers and the projector's own configuration, both as text."""
        lines = []
        for layer in self.model._flatten_layers():
            if not hasattr(layer, "embeddings"):
                continue
            table = f"{layer.name}-{epoch}.tsv"
            self.log_dir.mkdir(parents=True, exist_ok=True)
            np.savetxt(self.log_dir / table, layer.embeddings.numpy(), "%.7g", "\t")
            labels = self.embeddings_metadata
            labels = labels.get(layer.name) if isinstance(labels, dict) else labels
            fields = {"tensor_name": layer.name, "tensor_path": table, "metadata_path": labels}
            shown = [f'  {k}: "{v}"\n' for k, v in fields.items() if v is not None]
            lines.append(f"embeddings {{\n{''.join(shown)}}}\n")
        if lines:
            (self.log_dir / "projector_config.pbtxt").write_text("".join(lines))


def _proto(name: str) -> Any:
    """A module of protocol buffers, whose classes are made when it is imported."""
    return importlib.import_module(f"tensorboard.compat.proto.{name}_pb2")


def _image(tag: str, value: np.ndarray) -> Any:
    """A weight as grey pictures over its own range: [H, W], or the channels of [H, W, ..., C]."""
    from PIL import Image
    from tensorboard.plugins.image import metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    if value.ndim <= 2:
        pictures = np.atleast_2d(value)[None]
    else:
        pictures = np.moveaxis(value.reshape(*value.shape[:2], -1), -1, 0)[:IMAGES]
    span = np.ptp(pictures) or 1.0
    grey = np.round((pictures - pictures.min()) / span * 255).astype("uint8")
    parts = [str(grey.shape[2]).encode(), str(grey.shape[1]).encode()]
    for picture in grey:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "png")
        parts.append(file.getvalue())
    described = metadata.create_summary_metadata(display_name=None, description="")
    summary = _proto("summary").Summary()
    summary.value.add(tag=tag, metadata=described, tensor=make_tensor_proto(parts))
    return summary
