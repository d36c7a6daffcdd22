"""Trainings that users write themselves, on real digits: contrastive learning, distillation.

Each beats what it must beat: a probe on a random encoder, the same student without its teacher.
A GAN and a VAE are in `test_transforms.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import carnyx
from carnyx import layers, ops

PIXELS, LABELS = load_digits(return_X_y=True)
IMAGES = (PIXELS / 16).astype("float32").reshape(-1, 8, 8, 1)
HELD_OUT = slice(1300, None)


class SimCLR(carnyx.Model):
    """Two views of an image shall be near each other, and far from all others: NT-Xent.

    loss = mean over the 2B views i of -log(exp(z_i.z_j / T) / sum over k != i of exp(z_i.z_k / T)),
    where j is the other view of the same image and z has length 1. Chen et al. (2020), equation 1.
    """

    def __init__(self, temperature: float = 0.3) -> None:
        super().__init__()
        self.temperature = temperature
        shift = layers.RandomTranslation(0.12, 0.12, fill_mode="constant", seed=1)
        self.views = carnyx.Sequential([shift, layers.GaussianNoise(0.1, seed=2)])
        self.encoder = carnyx.Sequential(
            [layers.Flatten(), layers.Dense(128, "relu"), layers.Dense(8)]
        )
        self.head = carnyx.Sequential([layers.Dense(32, "relu"), layers.Dense(16)])

    def call(self, images: Any) -> Any:
        return self.head(self.encoder(images))

    def train_step(self, data: Any) -> dict[str, Any]:
        images, _, _ = carnyx.utils.unpack_x_y_sample_weight(data)
        views = jnp.concatenate([self.views(images, training=True) for _ in range(2)])
        count = len(views)
        partners = (jnp.arange(count) + count // 2) % count

        def loss() -> Any:
            z = ops.normalize(self(views, training=True), axis=-1)
            nearness = z @ z.T / self.temperature - 1e9 * jnp.eye(count)
            return jnp.mean(
                ops.sparse_categorical_crossentropy(partners, nearness, from_logits=True)
            )

        value, gradients = carnyx.value_and_grad(loss, self.trainable_variables)()
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": value}


def probe(encoder: Any) -> float:
    """Held-out accuracy of a linear classifier on what a frozen encoder gives, from 100 labels."""
    features = encoder.predict(IMAGES, batch_size=len(IMAGES), verbose=0)
    features = (features - features.mean(0)) / features.std(0)
    few = slice(100)
    linear = LogisticRegression(max_iter=2000).fit(features[few], LABELS[few])
    return linear.score(features[HELD_OUT], LABELS[HELD_OUT])


def test_contrastive_learning_needs_no_labels() -> None:
    carnyx.utils.set_random_seed(4)
    model = SimCLR()
    model.compile(carnyx.optimizers.Adam(0.003))
    model.build((None, 8, 8, 1))
    before = probe(model.encoder)
    log = model.fit(IMAGES[:1280], batch_size=128, epochs=20, verbose=0).history["loss"]
    after = probe(model.encoder)
    assert log[-1] < 0.8 * log[0] < np.log(255), "guessing among 255 other views costs log 255"
    assert after > before + 0.15  # 0.72 against 0.44


class Distiller(carnyx.Model):
    """A student that learns the teacher's probabilities besides the labels.

    loss = a CE(y, s) + (1 - a) T^2 KL(softmax(t / T) || softmax(s / T)), of the logits s and t.
    Hinton, Vinyals and Dean (2015).
    """

    def __init__(self, student: Any, teacher: Any, share: float, temperature: float = 3.0) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        self.share, self.temperature = share, temperature
        self.teacher.trainable = False

    def call(self, x: Any, training: Any = None) -> Any:
        return self.student(x, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        hard = super().compute_loss(x, y, y_pred, sample_weight, training)
        soft = ops.softmax(self.teacher(x, training=False) / self.temperature)
        log_student = ops.log_softmax(y_pred / self.temperature)
        divergence = ops.sum(soft * (ops.log(soft) - log_student), axis=-1)
        return self.share * hard + (1 - self.share) * self.temperature**2 * ops.mean(divergence)


def network(units: int) -> Any:
    return carnyx.Sequential(
        [carnyx.Input((64,)), layers.Dense(units, "relu"), layers.Dense(10)], name=f"of_{units}"
    )


def compiled(model: Any, rate: float) -> Any:
    loss = carnyx.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(carnyx.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def teacher() -> Any:
    carnyx.utils.set_random_seed(5)
    model = compiled(network(128), 0.005)
    model.fit(PIXELS[:1300] / 16, LABELS[:1300], batch_size=128, epochs=25, verbose=0)
    return model


def test_a_student_learns_from_its_teacher(teacher: Any) -> None:
    frozen = [w.copy() for w in teacher.get_weights()]
    x, few = PIXELS / 16, slice(150)
    wise = teacher.predict(x[HELD_OUT], verbose=0).argmax(-1)
    assert np.mean(wise == LABELS[HELD_OUT]) > 0.9
    found = {}
    for share in (1.0, 0.1):  # of the labels: all, or hardly any
        carnyx.utils.set_random_seed(6)
        model = compiled(Distiller(network(10), teacher, share), 0.02)
        model.fit(x[few], LABELS[few], batch_size=50, epochs=80, verbose=0)
        logits = model.predict(x[HELD_OUT], verbose=0)
        loss = carnyx.losses.SparseCategoricalCrossentropy(from_logits=True)
        found[share] = (
            np.mean(logits.argmax(-1) == wise),
            float(loss(LABELS[HELD_OUT], logits)),
        )
    assert found[0.1][0] > found[1.0][0], "it agrees with the teacher more often"
    assert found[0.1][1] < 0.8 * found[1.0][1], "and is less sure of what is wrong"
    assert all(map(np.array_equal, frozen, teacher.get_weights()))
