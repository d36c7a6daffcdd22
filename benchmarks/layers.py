"""`python -m benchmarks.layers`: single layers, forward and backward, against Keras and PyTorch.

A call computes the outputs, the gradients by inputs and weights for a given gradient by the
outputs, and new moving statistics. Rounds, medians and the table are those of `__main__.py`.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.__main__ import main
from benchmarks.cases import Case, Suite
from benchmarks.worker import WARM_UPS, serve

SECONDS, CALLS = 0.3, 200  # a measurement ends with the first that is over


@dataclass(frozen=True)
class Row:
    """A layer of Keras's (or a loss) and the shape of its input."""

    layer: str
    shape: tuple[int, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        sizes = [str(v) for v in self.kwargs.values() if not isinstance(v, (bool, str))]
        return " ".join([self.layer, "x".join(map(str, self.shape)), *sizes])


SAME = {"padding": "same"}
TWICE = {"strides": 2, "padding": "same"}
ROWS = (
    Row("LayerNormalization", (8, 128, 256)),
    Row("LayerNormalization", (16, 128, 768)),
    Row("SparseCategoricalCrossentropy", (128, 1000), {"from_logits": True}),
    Row("SparseCategoricalCrossentropy", (512, 10000), {"from_logits": True}),
    Row("MultiHeadAttention", (8, 128, 256), {"num_heads": 8, "key_dim": 32}),
    Row("MultiHeadAttention", (2, 512, 512), {"num_heads": 8, "key_dim": 64}),
    Row("MultiHeadAttention", (1, 2048, 512), {"num_heads": 8, "key_dim": 64}),
    Row("BatchNormalization", (32, 56, 56, 64)),
    Row("BatchNormalization", (32, 14, 14, 256)),
    Row("Embedding", (32, 128), {"input_dim": 10000, "output_dim": 128}),
    Row("Embedding", (32, 256), {"input_dim": 50000, "output_dim": 256}),
    Row("DepthwiseConv2D", (8, 56, 56, 64), {"kernel_size": 3, **SAME}),
    Row("DepthwiseConv2D", (8, 28, 28, 192), {"kernel_size": 5, **SAME}),
    Row("SeparableConv2D", (8, 56, 56, 64), {"filters": 128, "kernel_size": 3, **SAME}),
    Row("SeparableConv2D", (8, 28, 28, 128), {"filters": 256, "kernel_size": 3, **SAME}),
    Row("Conv2DTranspose", (8, 14, 14, 128), {"filters": 64, "kernel_size": 4, **TWICE}),
    Row("Conv2DTranspose", (8, 28, 28, 64), {"filters": 32, "kernel_size": 2, **TWICE}),
)
BY_NAME = {row.name: row for row in ROWS}
SUITE = Suite(
    program="benchmarks.layers",
    cases=tuple(Case(name, "layer", name, None) for name in BY_NAME),
    frameworks=("carnyx", "keras-jax", "torch"),
    worker=("benchmarks.layers", "--worker"),
    output="out/benchmarks_layers.json",
    title="layers, forward and backward: medians; score = carnyx / best rival",
    caption="shape of the input, then sizes of the layer",
)


class Worker:
    """The layers of one framework, made when a case first asks for them."""

    def __init__(self, framework: str):
        self.framework = framework
        self.ready: dict[str, Callable[[], None]] = {}

    def measure(self, case: Case) -> float:
        """Milliseconds a call."""
        if case.name not in self.ready:
            make = torch_call if self.framework == "torch" else keras_call
            self.ready[case.name] = make(self.framework, BY_NAME[case.name])
            for _ in range(WARM_UPS):
                self.ready[case.name]()
        call, calls, start = self.ready[case.name], 0, time.perf_counter()
        while calls < CALLS and time.perf_counter() - start < SECONDS:
            call()
            calls += 1
        return (time.perf_counter() - start) / calls * 1e3


def inputs(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """The input, and the labels that a loss compares it with."""
    rng = np.random.default_rng(0)
    if row.layer == "Embedding":
        return rng.integers(0, row.kwargs["input_dim"], row.shape).astype("int32"), np.zeros(0)
    x = rng.normal(size=row.shape).astype("float32")
    return x, rng.integers(0, row.shape[-1], row.shape[0]).astype("int32")


# ---- Keras's API, on JAX -----------------------------------------------------------------------


def keras_call(framework: str, row: Row) -> Callable[[], None]:
    """One compiled step of Carnyx or of Keras."""
    import jax

    package = "carnyx" if framework == "carnyx" else "keras"
    x, labels = inputs(row)
    run, trained, rest = _keras_function(package, row, x, labels)
    slope = jax.tree.map(
        lambda a: np.random.default_rng(1).normal(size=a.shape).astype("float32"),
        jax.eval_shape(run, trained, rest, x)[0],
    )

    def step(trained: Any, rest: Any, x: Any, slope: Any) -> Any:
        wanted = (trained, x) if x.dtype == np.float32 else (trained,)
        outputs, pull, moved = jax.vjp(
            lambda trained, x=x: run(trained, rest, x), *wanted, has_aux=True
        )
        return outputs, pull(slope), moved

    arguments = (trained, rest, x, slope)
    leaves, tree = jax.tree.flatten(jax.device_put(arguments))
    compiled = _compiled(framework, step, leaves, tree)
    return lambda: jax.block_until_ready(compiled(leaves))


def _keras_function(package: str, row: Row, x: Any, labels: Any) -> tuple[Any, Any, Any]:
    """(function of weights, other variables and input; the weights; the other variables)."""
    if row.layer.endswith("entropy"):
        loss = getattr(importlib.import_module(f"{package}.losses"), row.layer)(**row.kwargs)
        return lambda trained, rest, x: (loss(labels, x), []), [], []
    layer = getattr(importlib.import_module(f"{package}.layers"), row.layer)(**row.kwargs)
    twice = row.layer == "MultiHeadAttention"  # its query is its value
    options = {"training": True} if row.layer == "BatchNormalization" else {}
    layer(*([x[:1]] * (1 + twice)))

    def run(trained: Any, rest: Any, x: Any) -> Any:
        return layer.stateless_call(trained, rest, *([x] * (1 + twice)), **options)

    trained, rest = layer.trainable_variables, layer.non_trainable_variables
    return run, [np.asarray(v.value) for v in trained], [np.asarray(v.value) for v in rest]


def _compiled(framework: str, step: Any, leaves: list[Any], tree: Any) -> Any:
    """Keras's step as JAX compiles it; Carnyx's as a Program, which is what its models run."""
    import jax

    def flat(values: Any) -> list[Any]:
        return jax.tree.leaves(step(*jax.tree.unflatten(tree, values)))

    if framework != "carnyx":
        return jax.jit(flat)
    from carnyx.engines import get_engine
    from carnyx.program.trace import Slot, trace

    def slots(role: str, arrays: Any) -> list[Any]:
        return [Slot(f"{role}{i}", a.shape, str(a.dtype), role) for i, a in enumerate(arrays)]

    program = trace("layer", flat, slots("data", leaves), lambda out: slots("output", out))
    return get_engine("xla").compile(program)


# ---- PyTorch -----------------------------------------------------------------------------------


def torch_call(framework: str, row: Row) -> Callable[[], None]:
    """One step of a module, channels first as PyTorch has them."""
    import torch

    array, labels = inputs(row)
    x = torch.from_numpy(array)
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()
    if x.is_floating_point():
        x.requires_grad_()
    module = _torch_module(torch, row, torch.from_numpy(labels).long())
    slope = torch.randn_like(module(x).detach())

    def call() -> None:
        module.zero_grad(set_to_none=True)
        x.grad = None
        module(x).backward(slope)

    return call


def _torch_module(torch: Any, row: Row, labels: Any) -> Any:
    nn, size, kwargs = torch.nn, row.shape[-1], row.kwargs
    filters, kernel = kwargs.get("filters", 0), kwargs.get("kernel_size", 1)

    class Entropy(nn.Module):
        def forward(self, x: Any) -> Any:
            return nn.functional.cross_entropy(x, labels)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(size, kwargs["num_heads"], batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.inner(x, x, x, need_weights=False)[0]

    def depthwise() -> Any:
        return nn.Conv2d(size, size, kernel, padding="same", groups=size)

    makers: dict[str, Callable[[], Any]] = {
        "LayerNormalization": lambda: nn.LayerNorm(size),
        "SparseCategoricalCrossentropy": Entropy,
        "MultiHeadAttention": Attention,
        "BatchNormalization": lambda: nn.BatchNorm2d(size),
        "Embedding": lambda: nn.Embedding(kwargs["input_dim"], kwargs["output_dim"]),
        "DepthwiseConv2D": depthwise,
        "SeparableConv2D": lambda: nn.Sequential(depthwise(), nn.Conv2d(size, filters, 1)),
        "Conv2DTranspose": lambda: nn.ConvTranspose2d(
            size, filters, kernel, stride=2, padding=(kernel - 2) // 2
        ),
    }
    return makers[row.layer]()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve(Worker(sys.argv[2]).measure, SUITE.cases)
    else:
        sys.exit(main(suite=SUITE))
