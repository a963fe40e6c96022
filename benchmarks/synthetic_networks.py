"""Networks for synthetic_frames.py: a 2D CNN on single frames and a narrow C3D on clips."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import layers

from models.c3d import build_c3d
from models.initialisation import initialise_by_data


class Batches(keras.utils.PyDataset):
    """Clips, or one frame of each, half of them mirrored and each shifted by up to 3 pixels; shuffled every epoch."""

    def __init__(self, clips: np.ndarray, labels: np.ndarray, *, single_frames: bool, size: int, seed: int):
        super().__init__()
        self.clips, self.labels, self.single_frames, self.size = clips, labels, single_frames, size
        self.rng, self.order = np.random.default_rng(seed), np.arange(len(clips))

    def __len__(self):
        return len(self.order) // self.size

    def on_epoch_end(self):
        self.rng.shuffle(self.order)

    def __getitem__(self, number):
        rows = self.order[number * self.size : (number + 1) * self.size]
        clips = self.clips[rows]
        if self.single_frames:
            clips = clips[np.arange(len(rows)), self.rng.integers(0, clips.shape[1], len(rows))]
        moved = [
            np.roll(clip[..., :: self.rng.choice([-1, 1]), :], self.rng.integers(-3, 4, 2), axis=(-3, -2))
            for clip in clips
        ]
        return np.stack(moved).astype(np.float32), self.labels[rows]


def train(model: keras.Model, batches: Batches, *, epochs: int, learning_rate: float) -> None:
    """Train with Adam; the learning rate warms up over a tenth of the steps and decays with a cosine."""
    steps = epochs * len(batches)
    warm_up = {"warmup_target": learning_rate, "warmup_steps": max(1, steps // 10)}
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate / 10, steps, **warm_up)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), loss, jit_compile=False)
    model.fit(batches, epochs=epochs, verbose=0)


def network_scores(
    clips: np.ndarray, labels: np.ndarray, tests: dict[str, np.ndarray], *, classes: int, seed: int, epochs: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Train both networks on uint8 clips (n, T, H, W, 3), and yield a name and test scores for each.

    `tests` maps a suffix of the name to test clips (m, T, H, W, 3). The 2D CNN trains for six times as many epochs and
    is tested on the frames of the first of them, scores (m, T, classes); the C3D on each, scores (m, classes).
    """
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input(clips.shape[2:]), layers.Rescaling(1 / 127.5, -1)])
    for filters in (32, 64, 128, 128):
        network.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        network.add(layers.MaxPool2D())
    for layer in (layers.Flatten(), layers.Dropout(0.4), layers.Dense(128, "relu"), layers.Dense(classes)):
        network.add(layer)
    batches = Batches(clips, labels, single_frames=True, size=16, seed=seed)
    train(network, batches, epochs=6 * epochs, learning_rate=1e-3)
    test = next(iter(tests.values()))
    scores = network.predict(test.reshape(-1, *test.shape[2:]).astype(np.float32), batch_size=256, verbose=0)
    yield "frame: 2D CNN", scores.reshape(*test.shape[:2], classes)

    network = build_c3d(classes, input_shape=clips.shape[1:], width=0.125, dropout=0)
    initialise_by_data(network, clips[np.random.default_rng(seed).choice(len(clips), 32, replace=False)])
    batches = Batches(clips, labels, single_frames=False, size=8, seed=seed)
    train(network, batches, epochs=epochs, learning_rate=5e-4)
    for suffix, test in tests.items():
        scores = network.predict(test.astype(np.float32), batch_size=16, verbose=0)
        yield f"clip: 3D CNN (C3D, width 1/8){suffix}", scores
