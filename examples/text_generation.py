"""Learn to write: a character-level LSTM on the English of Python's own language reference.

    python -m carnyx examples/text_generation.py [epochs [characters]]

A plain Keras program. The lines down to the first rule make the data, the lines after the second
measure what the model has learnt; between them stands what is in any Keras tutorial.
"""

import re
import sys
from collections import Counter
from pydoc_data.topics import topics

import keras
import numpy as np
from keras.layers import LSTM, Dense
from keras.models import Sequential

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
characters = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
keras.utils.set_random_seed(0)

# Plain lower-case text: typographic quotes become ASCII, ruled lines, runs of spaces and the
# rarest characters go, which leaves at most 60 different ones.
text = "\n".join(topics[name] for name in sorted(topics)).lower()
text = text.translate(str.maketrans("’‘“”—–…", "''\"\"--."))
text = re.sub(r"[ \t]+", " ", re.sub(r"[*=~^-]{4,}", "", text))
text = re.sub(r"\n\s*\n+", "\n\n", text)
common = {char for char, _ in Counter(text).most_common(60)}
text = "".join(char for char in text if char in common)[:characters]

chars = sorted(set(text))
index = {char: i for i, char in enumerate(chars)}
maxlen, step = 40, 3
held_out = text[len(text) * 95 // 100 :]  # the last part is never trained on
text = text[: len(text) * 95 // 100]


def windows(source, step):
    """Every `step`-th window of `maxlen` characters, and the character after it, one-hot."""
    codes = np.array([index[char] for char in source])
    starts = np.arange(0, len(codes) - maxlen, step)
    one_hot = np.eye(len(chars), dtype=bool)
    return one_hot[codes[starts[:, None] + np.arange(maxlen)]], one_hot[codes[starts + maxlen]]


x, y = windows(text, step)
print(f"{len(text):,} characters, {len(chars)} different, {len(x):,} windows")

# ------------------------------------------------------------------------------------------------

model = Sequential()
model.add(LSTM(128, return_sequences=True, input_shape=(maxlen, len(chars))))
model.add(LSTM(128))
model.add(Dense(len(chars), activation="softmax"))

model.compile(loss="categorical_crossentropy", optimizer="adam")
model.fit(x, y, epochs=epochs)


def sample(preds, temperature=1.0):
    """Draw an index from probabilities sharpened (temperature < 1) or flattened (> 1)."""
    preds = np.asarray(preds).astype("float64")
    preds = np.exp(np.log(preds + 1e-12) / temperature)
    preds = preds / np.sum(preds)
    return np.argmax(np.random.multinomial(1, preds, 1))


diversity = 0.5
sentence = text[:maxlen]
generated = ""
print(f"----- diversity {diversity}, seed {sentence!r}")
for _ in range(400):
    sampled = np.zeros((1, maxlen, len(chars)))
    for t, char in enumerate(sentence):
        sampled[0, t, index[char]] = 1.0
    preds = model.predict(sampled, verbose=0)[0]
    next_char = chars[sample(preds, diversity)]
    generated += next_char
    sentence = sentence[1:] + next_char
    print(next_char, end="", flush=True)
print()

# ------------------------------------------------------------------------------------------------


def trigram_bits(train, test):
    """Bits per character of a trigram model, interpolated with bigrams, unigrams and uniform.

    The four weights are fitted by expectation maximisation on the last tenth of `train`.
    """
    size = len(chars)

    def probabilities(source, target):
        a = np.array([index[char] for char in source])
        counts = np.zeros((size, size, size))
        np.add.at(counts, (a[:-2], a[1:-1], a[2:]), 1)
        pairs, singles = counts.sum(0), counts.sum((0, 1))
        i, j, k = (
            np.array([index[char] for char in target])[n : len(target) - 2 + n] for n in range(3)
        )
        return np.stack([
            counts[i, j, k] / np.maximum(counts[i, j].sum(-1), 1),
            pairs[j, k] / np.maximum(pairs[j].sum(-1), 1),
            singles[k] / singles.sum(),
            np.full(len(k), 1 / size),
        ])  # fmt: skip

    cut = len(train) * 9 // 10
    parts = probabilities(train[:cut], train[cut:])
    weights = np.full(4, 0.25)
    for _ in range(50):
        share = weights[:, None] * parts
        weights = (share / share.sum(0)).mean(1)
    return -np.log2(weights @ probabilities(train, test)).mean()


x_test, y_test = windows(held_out, 1)
chosen = model.predict(x_test, batch_size=256, verbose=0)[y_test]
model_bits = -np.log2(np.maximum(chosen, 1e-12)).mean()
words = re.findall(r"[a-z]+", generated)[1:-1]  # the first and the last may be cut off
known = set(re.findall(r"[a-z]+", text))
share = sum(word in known for word in words) / max(len(words), 1)
print(f"generated words that occur in the text: {share:.0%} of {len(words)}")
print(f"held-out bits per character: LSTM {model_bits:.3f}, "
      f"trigram {trigram_bits(text, held_out):.3f}")  # fmt: skip
