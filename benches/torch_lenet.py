#!/usr/bin/env python3
"""LeNet in PyTorch, eager, with batch norms or without: how many images a second it trains on and classifies.

The nets, the loss, the optimizer and the rates are those of models/lenet.nn and models/bn_lenet.nn. The images lie as bytes in one tensor; each batch is
gathered by a shuffled index and divided by 255, as lenetc does. Needs nothing but torch. Prints one line of JSON:

    {"train_examples_per_sec": ..., "inference_images_per_sec": ..., "peak_rss_mb": ..., "torch": ..., "threads": ...}
"""

import argparse
import ctypes
import gzip
import json
import pathlib
import resource
import sys
import time

import torch
from torch import nn

FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")


def lenet():
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    return initialised(model)


def bn_lenet():
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), nn.BatchNorm1d(120), nn.Sigmoid(),
        nn.Linear(120, 84), nn.BatchNorm1d(84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    return initialised(model)


def initialised(model):
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
    return model


# Each net and its learning rate.
MODELS = {"lenet": (lenet, 0.9), "bn_lenet": (bn_lenet, 1.0)}


def read_idx(path):
    # Inflated straight into place: a second copy would count as the peak of memory.
    with gzip.open(path) as file:
        rank = file.read(4)[3]
        dims = [int.from_bytes(file.read(4), "big") for _ in range(rank)]
        x = torch.empty(dims, dtype=torch.uint8)
        values = memoryview((ctypes.c_uint8 * x.numel()).from_address(x.data_ptr())).cast("B")
        at = 0
        while got := file.readinto(values[at : at + 2**20]):
            at += got
    if at != len(values):
        sys.exit(f"{path} ends after {at} of {len(values)} bytes")
    return x


def dataset(folder, count):
    """Fashion-MNIST's training images; where it is not installed, random ones of the same kind."""
    try:
        x = read_idx(folder / "train-images-idx3-ubyte.gz")
        y = read_idx(folder / "train-labels-idx1-ubyte.gz")
    except FileNotFoundError:
        print(f"no Fashion-MNIST in {folder}: random images", file=sys.stderr)
        x = torch.randint(0, 256, (60000, 28, 28), dtype=torch.uint8)
        y = torch.randint(0, 10, (60000,), dtype=torch.uint8)
    return x[:count, None], y[:count].long()


def batches(count, size, shuffle):
    """Indices of batch after batch; None ends an epoch."""
    while True:
        order = torch.randperm(count) if shuffle else torch.arange(count)
        yield from order.split(size)
        yield None


def rate(step, indices, seconds, epochs):
    """Calls `step` for so many seconds, or epochs, after a short warm-up; images a second."""
    if not epochs:
        end = time.perf_counter() + min(1.0, seconds / 4)
        while time.perf_counter() < end:
            if (index := next(indices)) is not None:
                step(index)
    images = ended = 0
    start = time.perf_counter()
    for index in indices:
        if index is None:
            ended += 1
            if epochs and ended == epochs:
                break
            continue
        step(index)
        images += len(index)
        if not epochs and time.perf_counter() - start >= seconds:
            break
    return images / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description="LeNet's speed in PyTorch.")
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--mode", choices=["train", "inference", "both"], default="both")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each mode (default 5)")
    parser.add_argument("--epochs", type=int, default=0, help="train for so many epochs rather than seconds")
    parser.add_argument("--data", type=pathlib.Path, default=FASHION_MNIST, metavar="DIR")
    parser.add_argument("--images", type=int, default=60000, help="of the training images (default all)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    x, y = dataset(options.data, options.images)
    build, lr = MODELS[options.model]
    model = build()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)

    def train(index):
        optimizer.zero_grad()
        criterion(model(x[index].float().div_(255)), y[index]).backward()
        optimizer.step()

    def classify(index):
        model.eval()
        with torch.inference_mode():
            model(x[index].float().div_(255)).argmax(1)

    result = {"train_examples_per_sec": None, "inference_images_per_sec": None}
    if options.mode != "inference":
        indices = batches(len(x), options.batch, shuffle=True)
        result["train_examples_per_sec"] = round(rate(train, indices, options.seconds, options.epochs), 1)
    if options.mode != "train":
        indices = batches(len(x), options.batch, shuffle=False)
        result["inference_images_per_sec"] = round(rate(classify, indices, options.seconds, 0), 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["peak_rss_mb"] = round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
    print(json.dumps(result | {"torch": torch.__version__, "threads": options.threads, "batch": options.batch}))


if __name__ == "__main__":
    main()
