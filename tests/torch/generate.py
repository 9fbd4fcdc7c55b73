#!/usr/bin/env python3
"""Records what PyTorch learns from small nets, for lenetc's tests to compare with.

For each case NAME it writes a folder tests/torch/NAME:

    model.nn            the net and how to train it, as lenetc reads it
    data.npz            x: float32 [N, C, H, W]; y: int64 [N], or float32 for squared errors
    start.safetensors   the weights before training, under lenetc's (and torch.nn.Sequential's) names
    end.safetensors     the weights after 20 steps of plain SGD in f32; 30 steps of what updates.py says in its cases
    losses.json         {"losses": [...]}: the loss of each of these batches before its update

The steps take the data in order, without shuffling. The last batch of an epoch may be smaller and is trained
on like any other, its loss averaged over its own size; the next epoch starts at the first example again.
The cases `lenet_*` have no data.npz: they use the first 5,120 training images of Fashion-MNIST, divided by 255.

Each case is a text for lenetc and, beside it, the same net built by hand from torch.nn: neither is made from
the other. Where torch has no layer of the kind (joins, paddings that differ between sides) the classes below
add one in a few lines.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch numpy safetensors
    /tmp/venv/bin/python tests/torch/generate.py            # writes every case, provenance.json and README.md's table
    /tmp/venv/bin/python tests/torch/generate.py NAME...    # writes these only (and prints their table)
    /tmp/venv/bin/python tests/torch/generate.py --check    # writes nothing, compares with what is recorded

The same torch on the same kind of CPU writes the same bytes. Another one rounds differently; `--check` says by
how much. Every case is also trained in f64, from the same start: its updates must stay within 3e-5 of f32's,
for each parameter tensor, or the case is too chaotic to compare anything with, and the program fails.

oneDNN, torch's usual convolutions on a CPU, is off for what is recorded. It adds up a bias' gradient term by
term, 200,000 terms of both signs in LeNet's first layer: from trained weights that alone moves the bias' update
by 1e-4 of itself. torch's own kernels stay ten times nearer to f64, so they are the better witness.
"""

import argparse
import dataclasses
import gzip
import json
import pathlib
import platform
import sys
from collections.abc import Callable

import numpy as np
import safetensors
import safetensors.numpy
import torch
import torch.nn.functional as F
from torch import nn

import updates

HERE = pathlib.Path(__file__).resolve().parent
STEPS = 20
# How far ‖Δ32 − Δ64‖ / ‖Δ64‖ may be for any parameter tensor.
LIMIT = 3e-5
FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")


# ---- Layers that torch.nn lacks ----


class Add(nn.ModuleList):
    """The sum of what the branches make of one input."""

    def forward(self, x):
        return sum(branch(x) for branch in self)


class Concat(nn.ModuleList):
    """What the branches make of one input, joined along the channels."""

    def forward(self, x):
        return torch.cat([branch(x) for branch in self], dim=1)


class Sides(nn.Module):
    """A layer behind a padding ((top, bottom), (left, right)); its parameters keep its own names."""

    def __init__(self, layer, sides, value=0.0):
        super().__init__()
        self.inner = [layer]  # in a list, so that its parameters are registered here only, under their own names
        for name, parameter in layer.named_parameters():
            self.register_parameter(name, parameter)
        (top, bottom), (left, right) = sides
        self.pad = (left, right, top, bottom)
        self.value = value

    def forward(self, x):
        x = F.pad(x, self.pad, value=self.value)
        return torch.func.functional_call(self.inner[0], dict(self.named_parameters()), (x,))


class LastMax(nn.Module):
    """Max pooling in which the last among equals wins: wrong on purpose, to see that a case notices."""

    def __init__(self, pool):
        super().__init__()
        pair = lambda v: v if isinstance(v, tuple) else (v, v)
        self.kernel, self.stride, self.padding = map(pair, (pool.kernel_size, pool.stride, pool.padding))

    def forward(self, x):
        (ph, pw), (kh, kw), (sh, sw) = self.padding, self.kernel, self.stride
        x = F.pad(x, (pw, pw, ph, ph), value=-torch.inf)
        windows = x.unfold(2, kh, sh).unfold(3, kw, sw).flatten(4).flip(4)
        return windows.gather(4, windows.argmax(4, keepdim=True)).squeeze(4)


def philox(counter, key):
    """The first word of Philox4x32-10 for arrays of counters, after Salmon et al., 2011."""
    a, b, c, d = (np.asarray(word, np.uint64) for word in counter)
    low, high = key
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        first, third = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a = (third >> np.uint64(32)) ^ b ^ np.uint64(low)
        c = (first >> np.uint64(32)) ^ d ^ np.uint64(high)
        b, d = third & mask, first & mask
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return a


class Masked(nn.Module):
    """Dropout with the mask that lenetc draws for a run of seed 0: by the element (or channel), the image's position in
    the batch, the step, and the layer's number among those that draw."""

    def __init__(self, p, stream, channels=False):
        super().__init__()
        self.p, self.stream, self.channels, self.step = p, stream, channels, 0

    def forward(self, x):
        if not self.training:
            return x
        within = x.shape[1:2] if self.channels else x.shape[1:]
        image, element = np.meshgrid(np.arange(len(x)), np.arange(int(np.prod(within))), indexing="ij")
        counter = (element, image, np.full_like(image, self.step), np.full_like(image, 2 + self.stream))
        number = (philox(counter, (0, 0)) >> np.uint64(8)).astype(np.float64) / 2**24
        self.step += 1
        mask = torch.from_numpy(number >= np.float32(self.p)).reshape(len(x), *within)
        if self.channels:
            mask = mask[:, :, None, None]
        return x * mask * torch.tensor(1 / (1 - self.p), dtype=x.dtype)


def net(*items):
    """nn.Sequential whose items may be labelled: ("conv1", layer). A label replaces the position."""
    seq = nn.Sequential()
    for position, item in enumerate(items):
        label, layer = item if isinstance(item, tuple) else (str(position), item)
        seq.add_module(label, layer)
    return seq


# ---- Data ----


def smooth(shape, n, rng):
    """Numbers around zero, in steps of 1/32."""
    return (np.round(rng.standard_normal((n, *shape)) * 32) / 32).astype(np.float32)


def u8(shape, n, rng):
    """Images as a camera's: many black pixels, patches of equal grey, few levels. Full of ties."""
    c, h, w = shape
    coarse = rng.integers(-3, 5, (n, c, (h + 1) // 2, (w + 1) // 2)).clip(0)
    fine = coarse.repeat(2, 2).repeat(2, 3)[:, :, :h, :w]
    speck = rng.integers(0, 4, fine.shape) * (rng.random(fine.shape) < 0.15)
    return ((fine + speck) * 32 / 256).astype(np.float32)


def classes(count):
    """Labels that depend on the images, so that there is something to learn."""

    def labels(x, rng):
        flat = x.reshape(len(x), -1)
        return (flat @ rng.standard_normal((flat.shape[1], count))).argmax(1).astype(np.int64)

    return labels


def targets(*shape):
    """Float targets of this shape: a random linear image of x."""

    def values(x, rng):
        flat = x.reshape(len(x), -1)
        size = int(np.prod(shape))
        y = flat @ rng.standard_normal((flat.shape[1], size)) / np.sqrt(flat.shape[1])
        return (np.round(y * 64) / 64).astype(np.float32).reshape(len(x), *shape)

    return values


def bits(*shape):
    """Float targets of this shape that are 0 or 1."""
    values = targets(*shape)
    return lambda x, rng: (values(x, rng) > 0).astype(np.float32)


def read_idx(name):
    raw = gzip.decompress((FASHION_MNIST / name).read_bytes())
    dims = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(dims)).reshape(dims)


def fashion_mnist(count):
    x = read_idx("train-images-idx3-ubyte.gz")[:count, None].astype(np.float32) / np.float32(255)
    return x, read_idx("train-labels-idx1-ubyte.gz")[:count].astype(np.int64)


# ---- Cases ----


@dataclasses.dataclass
class Case:
    name: str
    about: str  # what it tests, for the table
    shape: tuple  # of one example
    n: int  # examples
    batch: int
    lr: float
    layers: str  # the body of lenetc's model
    build: Callable  # the same net in torch
    y: Callable = None  # labels or targets
    x: Callable = smooth
    loss: str = "CrossEntropyLoss"
    torch_loss: Callable = None  # the same loss in torch, where its name does not say it
    start: Callable = None  # changes torch's initial weights in place
    header: str = ""  # blocks before lenetc's model
    compressed: bool = True
    lenet: bool = False
    ties: bool = False  # routing ties to the last winner must be noticed
    vanishing: tuple = ()  # parameters that a norm takes back: their gradient is zero but for rounding
    seed: int = 0
    steps: int = STEPS
    entries: str = ""  # of lenetc's `train`, where they are not plain SGD's
    optimizer: Callable = None  # the same in torch, from the parameters
    schedule: tuple = None  # from the optimizer, and whether each step moves it rather than each epoch
    clip: Callable = None  # changes the gradients of the parameters in place

    def text(self):
        steps_per_epoch = -(-self.n // self.batch)
        body = "\n".join("    " + line if line else "" for line in self.layers.strip("\n").split("\n"))
        entries = (self.entries or f"optimizer = SGD(lr={self.lr})").replace("\n", "\n    ")
        data = "fashion_mnist" if self.lenet else 'npz("data.npz")'
        shape = ", ".join(map(str, self.shape))
        header = self.header.strip("\n") + "\n\n" if self.header else ""
        return f"""# {self.about[0].upper()}{self.about[1:]}.
{header}model {"".join(w.capitalize() for w in self.name.split("_"))} {{
    input({shape})

{body}
}}

train {{
    data = {data}
    loss = {self.loss}
    {entries}
    batch_size = {self.batch}
    epochs = {-(-self.steps // steps_per_epoch)}
    shuffle = false
}}
"""

    def rng(self):
        return np.random.Generator(np.random.PCG64([self.seed, *self.name.encode()]))

    def data(self):
        if self.lenet:
            return fashion_mnist(self.n)
        rng = self.rng()
        x = self.x(self.shape, self.n, rng)
        return x, self.y(x, rng)

    def model(self):
        torch.manual_seed(self.seed + sum(self.name.encode()))
        model = self.build()
        if self.start:
            with torch.no_grad():
                self.start(model)
        return model

    def has_norms(self):
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.build().modules())

    def criterion(self):
        if self.torch_loss:
            return self.torch_loss()
        return {
            "CrossEntropyLoss": nn.CrossEntropyLoss(),
            "MSELoss": nn.MSELoss(),
            "MSELoss(reduction=mean)": nn.MSELoss(reduction="mean"),
            "MSELoss(reduction=sum)": nn.MSELoss(reduction="sum"),
        }[self.loss]


def twice(model):
    """Larger weights: activations bend within their inputs, and gradients reach the first layer."""
    for parameter in model.parameters():
        parameter.mul_(2)


def dyadic(model):
    """Weights of few bits, half of the filters zero: whole windows tie in the first step, over unlike patches."""
    conv = model[0]
    conv.weight.copy_((conv.weight * 32).round() / 16)
    conv.weight[::2] = 0


def lenet():
    return net(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip


def xavier(model):
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)


def trained(model):
    """LeNet after as many epochs at lr 0.9 as bring an epoch's mean loss below 0.6."""
    xavier(model)
    x, y = map(torch.from_numpy, fashion_mnist(60000))
    shuffle = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.9)
    for epoch in range(1, 31):
        total = 0.0
        for at in torch.randperm(len(x), generator=shuffle).split(256):
            with torch.enable_grad():
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[at]), y[at])
                loss.backward()
            optimizer.step()
            total += loss.item() * len(at)
        print(f"  lenet_trained: epoch {epoch}, loss {total / len(x):.3f}", file=sys.stderr)
        if total / len(x) < 0.6:
            return
    sys.exit("lenet_trained does not learn")


def bn_lenet():
    return net(
        nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2, stride=2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Sigmoid(), nn.AvgPool2d(2, stride=2), nn.Flatten(),
        nn.Linear(256, 120), nn.BatchNorm1d(120), nn.Sigmoid(),
        nn.Linear(120, 84), nn.BatchNorm1d(84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip


BN_LENET = """
Conv2d(6, kernel_size=5); BatchNorm2d(); Sigmoid
AvgPool2d(2, stride=2)
Conv2d(16, kernel_size=5); BatchNorm2d(); Sigmoid
AvgPool2d(2, stride=2)
Flatten
Linear(120); BatchNorm1d(); Sigmoid
Linear(84); BatchNorm1d(); Sigmoid
Linear(10)
"""

LENET = """
Conv2d(6, kernel_size=5, padding=2)
Sigmoid
AvgPool2d(2)
Conv2d(16, kernel_size=5)
Sigmoid
AvgPool2d(2)
Flatten
Linear(120); Sigmoid
Linear(84); Sigmoid
Linear(10)
"""

CASES = [
    Case(
        "strides", "strides, also unequal ones, over sizes they do not divide",
        shape=(1, 11, 14), n=3 * 16 + 1, batch=16, lr=0.2, y=classes(5),
        layers="""
Conv2d(4, kernel_size=3, stride=2)
Tanh
Conv2d(6, kernel_size=(3, 2), stride=(1, 2))
Sigmoid
Conv2d(5, kernel_size=(2, 1), stride=(3, 2), padding=(1, 0))
Flatten
Linear(5)
""",
        build=lambda: net(
            nn.Conv2d(1, 4, 3, stride=2), nn.Tanh(),
            nn.Conv2d(4, 6, (3, 2), stride=(1, 2)), nn.Sigmoid(),
            nn.Conv2d(6, 5, (2, 1), stride=(3, 2), padding=(1, 0)),
            nn.Flatten(), nn.Linear(5 * 2 * 2, 5),
        ),
    ),
    Case(
        "dilation", "dilated kernels, also unequally, with padding and stride",
        shape=(2, 12, 13), n=2 * 32 + 7, batch=32, lr=0.3, y=classes(7),
        layers="""
Conv2d(4, 3, dilation=2)
Sigmoid
Conv2d(5, kernel_size=(2, 3), dilation=(3, 1), padding=(2, 1))
Tanh
Conv2d(6, kernel_size=3, dilation=(2, 3), padding=3, stride=2)
Tanh
Flatten
Linear(7)
""",
        build=lambda: net(
            nn.Conv2d(2, 4, 3, dilation=2), nn.Sigmoid(),
            nn.Conv2d(4, 5, (2, 3), dilation=(3, 1), padding=(2, 1)), nn.Tanh(),
            nn.Conv2d(5, 6, 3, dilation=(2, 3), padding=3, stride=2), nn.Tanh(),
            nn.Flatten(), nn.Linear(6 * 6 * 5, 7),
        ),
    ),
    Case(
        "groups", "groups, depthwise, and depthwise with two filters a channel",
        shape=(4, 8, 8), n=4 * 12 + 7, batch=12, lr=0.3, y=classes(4),
        layers="""
Conv2d(8, kernel_size=3, padding=1, groups=2)
Tanh
Conv2d(8, kernel_size=3, groups=8)               # depthwise
Tanh
Conv2d(16, kernel_size=3, stride=2, groups=8, bias=false)
Sigmoid
Conv2d(6, kernel_size=1, groups=2)
Flatten
Linear(4)
""",
        build=lambda: net(
            nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.Tanh(),
            nn.Conv2d(8, 8, 3, groups=8), nn.Tanh(),
            nn.Conv2d(8, 16, 3, stride=2, groups=8, bias=False), nn.Sigmoid(),
            nn.Conv2d(16, 6, 1, groups=2),
            nn.Flatten(), nn.Linear(6 * 2 * 2, 4),
        ),
    ),
    Case(
        "sides", "paddings that differ between the sides, for every windowed layer",
        shape=(2, 9, 10), n=2 * 24 + 1, batch=24, lr=0.2, y=classes(6), compressed=False,
        layers="""
Conv2d(5, kernel_size=(4, 3), padding=((1, 0), (2, 1)))
Tanh
MaxPool2d(3, stride=2, padding=((1, 0), (0, 1)))
Conv2d(6, kernel_size=3, stride=2, padding=((0, 3), (1, 0)))
Tanh
AvgPool2d(2, stride=1, padding=((0, 1), (1, 0)))
Flatten
Linear(6)
""",
        build=lambda: net(
            Sides(nn.Conv2d(2, 5, (4, 3)), ((1, 0), (2, 1))), nn.Tanh(),
            Sides(nn.MaxPool2d(3, stride=2), ((1, 0), (0, 1)), -torch.inf),
            Sides(nn.Conv2d(5, 6, 3, stride=2), ((0, 3), (1, 0))), nn.Tanh(),
            Sides(nn.AvgPool2d(2, stride=1), ((0, 1), (1, 0))),
            nn.Flatten(), nn.Linear(6 * 2 * 2, 6),
        ),
    ),
    Case(
        "same", "padding=same, also for even kernels, whose odd element comes after",
        shape=(1, 9, 8), n=3 * 20 + 7, batch=20, lr=0.15, y=classes(5),
        layers="""
Conv2d(4, kernel_size=2, padding=same)
Tanh
Conv2d(4, kernel_size=4, dilation=(1, 3), padding=same)
Tanh
Conv2d(3, kernel_size=(5, 2), padding=same, bias=false)
Tanh
Flatten
Linear(5)
""",
        build=lambda: net(
            nn.Conv2d(1, 4, 2, padding="same"), nn.Tanh(),
            nn.Conv2d(4, 4, 4, dilation=(1, 3), padding="same"), nn.Tanh(),
            nn.Conv2d(4, 3, (5, 2), padding="same", bias=False), nn.Tanh(),
            nn.Flatten(), nn.Linear(3 * 9 * 8, 5),
        ),
    ),
    Case(
        "pointwise", "1×1 kernels, with a stride too, and a (5, 3) kernel padded by (2, 1)",
        shape=(3, 8, 8), n=3 * 16 + 1, batch=16, lr=0.2, y=classes(4),
        layers="""
Conv2d(6, kernel_size=1)
Sigmoid
Conv2d(4, kernel_size=(5, 3), padding=(2, 1))
Tanh
Conv2d(8, kernel_size=1, stride=(2, 3))
Tanh
Flatten
Linear(4)
""",
        build=lambda: net(
            nn.Conv2d(3, 6, 1), nn.Sigmoid(),
            nn.Conv2d(6, 4, (5, 3), padding=(2, 1)), nn.Tanh(),
            nn.Conv2d(4, 8, 1, stride=(2, 3)), nn.Tanh(),
            nn.Flatten(), nn.Linear(8 * 4 * 3, 4),
        ),
    ),
    Case(
        "wide_padding", "convolutions padded by more than their kernels",
        shape=(2, 5, 6), n=2 * 15 + 7, batch=15, lr=0.2, y=classes(3),
        layers="""
Conv2d(4, kernel_size=2, padding=3)
Tanh
Conv2d(5, kernel_size=(1, 2), stride=3, padding=(4, 5))
Tanh
Flatten
Linear(3)
""",
        build=lambda: net(
            nn.Conv2d(2, 4, 2, padding=3), nn.Tanh(),
            nn.Conv2d(4, 5, (1, 2), stride=3, padding=(4, 5)), nn.Tanh(),
            nn.Flatten(), nn.Linear(5 * 6 * 7, 3),
        ),
    ),
    Case(
        "max_overlap", "overlapping, padded max pools over data full of ties: the first in row-major order wins",
        shape=(1, 13, 12), n=2 * 32 + 7, batch=32, lr=0.1, y=classes(5), x=u8, start=dyadic, ties=True,
        layers="""
Conv2d(6, kernel_size=(3, 2), padding=1)
MaxPool2d(3, stride=2, padding=1)
Tanh
Conv2d(6, kernel_size=3)
Tanh
MaxPool2d((2, 3), stride=1, padding=(1, 0))
Flatten
Linear(5)
""",
        build=lambda: net(
            nn.Conv2d(1, 6, (3, 2), padding=1), nn.MaxPool2d(3, stride=2, padding=1), nn.Tanh(),
            nn.Conv2d(6, 6, 3), nn.Tanh(), nn.MaxPool2d((2, 3), stride=1, padding=(1, 0)),
            nn.Flatten(), nn.Linear(6 * 6 * 3, 5),
        ),
    ),
    Case(
        "max_relu", "max pools of 2 after ReLU, where whole windows are zero",
        shape=(1, 12, 12), n=3 * 33 + 1, batch=33, lr=0.1, y=classes(6), x=u8, start=dyadic, ties=True,
        layers="""
Conv2d(6, kernel_size=3, padding=1)
MaxPool2d(2)
ReLU
Conv2d(8, kernel_size=3)
ReLU
MaxPool2d(2)
Flatten
Linear(12); ReLU
Linear(6)
""",
        build=lambda: net(
            nn.Conv2d(1, 6, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(8 * 2 * 2, 12), nn.ReLU(), nn.Linear(12, 6),
        ),
    ),
    Case(
        "max_first", "max pools straight on the data, then on what ReLU left of it",
        shape=(3, 10, 11), n=4 * 10 + 7, batch=10, lr=0.1, y=classes(4), x=u8, compressed=False,
        layers="""
MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0))
Conv2d(6, kernel_size=2)
ReLU
MaxPool2d(2, stride=(1, 2), padding=1)
Flatten
Linear(4)
""",
        build=lambda: net(
            nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
            nn.Conv2d(3, 6, 2), nn.ReLU(), nn.MaxPool2d(2, stride=(1, 2), padding=1),
            nn.Flatten(), nn.Linear(6 * 5 * 5, 4),
        ),
    ),
    Case(
        "avg_overlap", "overlapping average pools that count their padding",
        shape=(2, 11, 12), n=3 * 16 + 7, batch=16, lr=0.4, y=classes(5),
        layers="""
Conv2d(4, kernel_size=3)
Sigmoid
AvgPool2d(3, stride=2, padding=1)
Conv2d(6, kernel_size=2)
Tanh
AvgPool2d((2, 3), stride=1, padding=(1, 1))
Flatten
Linear(5)
""",
        build=lambda: net(
            nn.Conv2d(2, 4, 3), nn.Sigmoid(), nn.AvgPool2d(3, stride=2, padding=1),
            nn.Conv2d(4, 6, 2), nn.Tanh(), nn.AvgPool2d((2, 3), stride=1, padding=(1, 1)),
            nn.Flatten(), nn.Linear(6 * 5 * 4, 5),
        ),
    ),
    Case(
        "gap_pools", "pools whose strides leave gaps between their windows",
        shape=(1, 14, 15), n=3 * 12 + 1, batch=12, lr=0.3, y=classes(4),
        layers="""
Conv2d(5, kernel_size=2)
Tanh
MaxPool2d(2, stride=3)
Conv2d(5, kernel_size=(1, 2), padding=1)
Tanh
AvgPool2d((1, 2), stride=(2, 3))
Flatten
Linear(4)
""",
        build=lambda: net(
            nn.Conv2d(1, 5, 2), nn.Tanh(), nn.MaxPool2d(2, stride=3),
            nn.Conv2d(5, 5, (1, 2), padding=1), nn.Tanh(), nn.AvgPool2d((1, 2), stride=(2, 3)),
            nn.Flatten(), nn.Linear(5 * 3 * 2, 4),
        ),
    ),
    Case(
        "mse_mean", "mean squared error between images, without biases",
        shape=(2, 6, 7), n=2 * 9 + 7, batch=9, lr=0.5, y=targets(2, 4, 6), loss="MSELoss(reduction=mean)",
        layers="""
Conv2d(5, kernel_size=3, padding=1, bias=false)
Tanh
Conv2d(2, kernel_size=(3, 2), bias=false)
""",
        build=lambda: net(
            nn.Conv2d(2, 5, 3, padding=1, bias=False), nn.Tanh(), nn.Conv2d(5, 2, (3, 2), bias=False),
        ),
    ),
    Case(
        "mse_sum", "summed squared errors of vectors, one example a step",
        shape=(1, 5, 6), n=13, batch=1, lr=0.02, y=targets(3), loss="MSELoss(reduction=sum)",
        layers="""
Conv2d(3, kernel_size=(1, 2), bias=false)
Sigmoid
Flatten
Linear(3)
""",
        build=lambda: net(
            nn.Conv2d(1, 3, (1, 2), bias=False), nn.Sigmoid(), nn.Flatten(), nn.Linear(3 * 5 * 5, 3),
        ),
    ),
    Case(
        "linears", "linear layers only, with every activation, in batches of 33",
        shape=(1, 6, 6), n=2 * 33 + 7, batch=33, lr=0.5, y=classes(10),
        layers="""
Flatten
Linear(40)
ReLU
Linear(out_features=30); Tanh
Linear(20, bias=false); Sigmoid
Linear(10)
""",
        build=lambda: net(
            nn.Flatten(), nn.Linear(36, 40), nn.ReLU(), nn.Linear(40, 30), nn.Tanh(),
            nn.Linear(30, 20, bias=False), nn.Sigmoid(), nn.Linear(20, 10),
        ),
    ),
    Case(
        "batch_one", "one image a step",
        shape=(1, 10, 9), n=8, batch=1, lr=0.3, y=classes(3), x=u8,
        layers="""
Conv2d(3, kernel_size=3, padding=1); Sigmoid
MaxPool2d(2)
Conv2d(4, kernel_size=2); Tanh
AvgPool2d(2)
Flatten
Linear(8); Tanh
Linear(3)
""",
        build=lambda: net(
            nn.Conv2d(1, 3, 3, padding=1), nn.Sigmoid(), nn.MaxPool2d(2),
            nn.Conv2d(3, 4, 2), nn.Tanh(), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3),
        ),
    ),
    Case(
        "residual", "sums of branches, with Identity and with a projection",
        shape=(2, 8, 8), n=3 * 16 + 1, batch=16, lr=0.3, y=classes(5),
        layers="""
Conv2d(6, kernel_size=3, padding=1)
Tanh
Add {
    {
        Conv2d(6, kernel_size=3, padding=1); Tanh
        Conv2d(6, kernel_size=3, padding=1)
    }
    { Identity }
}
Tanh
Add {
    { Conv2d(8, kernel_size=1, stride=2) }
    {
        Conv2d(8, kernel_size=3, stride=2, padding=1); Sigmoid
        Conv2d(8, kernel_size=3, padding=1, bias=false)
    }
}
AvgPool2d(4)
Flatten
Linear(5)
""",
        build=lambda: net(
            nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(),
            Add([
                net(nn.Conv2d(6, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 6, 3, padding=1)),
                net(nn.Identity()),
            ]),
            nn.Tanh(),
            Add([
                net(nn.Conv2d(6, 8, 1, stride=2)),
                net(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Sigmoid(),
                    nn.Conv2d(8, 8, 3, padding=1, bias=False)),
            ]),
            nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8, 5),
        ),
    ),
    Case(
        "concat", "branches joined along the channels, with a sum inside a branch, and an empty branch",
        shape=(2, 9, 8), n=3 * 14 + 7, batch=14, lr=0.1, y=classes(6),
        layers="""
Conv2d(4, kernel_size=3); Tanh
Concat {
    { Conv2d(3, kernel_size=1); Tanh }
    { Conv2d(2, kernel_size=1); Tanh; Conv2d(4, kernel_size=3, padding=1); Tanh }
    { MaxPool2d(3, stride=1, padding=1); Conv2d(2, kernel_size=1) }
    {
        Add {
            { Identity }
            { Conv2d(4, kernel_size=(5, 3), padding=(2, 1)) }
        }
        Sigmoid
    }
}
Concat {
    { }
    { Conv2d(5, kernel_size=3, padding=1); Tanh }
}
Flatten
Linear(6)
""",
        build=lambda: net(
            nn.Conv2d(2, 4, 3), nn.Tanh(),
            Concat([
                net(nn.Conv2d(4, 3, 1), nn.Tanh()),
                net(nn.Conv2d(4, 2, 1), nn.Tanh(), nn.Conv2d(2, 4, 3, padding=1), nn.Tanh()),
                net(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(4, 2, 1)),
                net(
                    Add([net(nn.Identity()), net(nn.Conv2d(4, 4, (5, 3), padding=(2, 1)))]),
                    nn.Sigmoid(),
                ),
            ]),
            Concat([net(), net(nn.Conv2d(13, 5, 3, padding=1), nn.Tanh())]),
            nn.Flatten(), nn.Linear(18 * 7 * 6, 6),
        ),
    ),
    Case(
        "labels", "labelled layers: a label replaces the position, which still counts",
        shape=(1, 8, 9), n=2 * 16 + 7, batch=16, lr=0.5, y=classes(4),
        layers="""
conv1: Conv2d(5, kernel_size=3)
Sigmoid
Conv2d(4, kernel_size=2)
act: Tanh
Concat {
    { inner: Conv2d(3, kernel_size=3, padding=1); Tanh }
    { Tanh; Conv2d(2, kernel_size=1) }
}
Flatten
fc: Linear(6); Tanh
Linear(4)
""",
        build=lambda: net(
            ("conv1", nn.Conv2d(1, 5, 3)), nn.Sigmoid(), nn.Conv2d(5, 4, 2), ("act", nn.Tanh()),
            Concat([
                net(("inner", nn.Conv2d(4, 3, 3, padding=1)), nn.Tanh()),
                net(nn.Tanh(), nn.Conv2d(4, 2, 1)),
            ]),
            nn.Flatten(), ("fc", nn.Linear(5 * 5 * 6, 6)), nn.Tanh(), nn.Linear(6, 4),
        ),
    ),
    Case(
        "repeats", "repeat, whose layers count as if written out, also with an index and within a branch",
        shape=(1, 9, 9), n=3 * 16 + 7, batch=16, lr=0.5, y=classes(5),
        layers="""
repeat i in 0..3 { Conv2d(3 + 2 * i, kernel_size=2); Tanh }
Add {
    { Identity }
    { repeat 2 { Conv2d(7, kernel_size=3, padding=1, groups=7); Tanh } }
}
AvgPool2d(2)
Flatten
repeat 2 { Linear(9); Tanh }
Linear(5)
""",
        build=lambda: net(
            nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Conv2d(3, 5, 2), nn.Tanh(), nn.Conv2d(5, 7, 2), nn.Tanh(),
            Add([
                net(nn.Identity()),
                net(nn.Conv2d(7, 7, 3, padding=1, groups=7), nn.Tanh(),
                    nn.Conv2d(7, 7, 3, padding=1, groups=7), nn.Tanh()),
            ]),
            nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(63, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 5),
        ),
    ),
    Case(
        "batch_norms", "batch norms of images and vectors, with every option, and a last batch of another size",
        shape=(2, 9, 8), n=3 * 16 + 7, batch=16, lr=0.3, y=classes(5),
        layers="""
BatchNorm2d(affine=false)
Conv2d(6, kernel_size=3, bias=false)
BatchNorm2d(eps=0.01, momentum=0.3)
Tanh
Conv2d(8, kernel_size=2, stride=2, bias=false)
BatchNorm2d(momentum=None)
Sigmoid
Flatten
Linear(11, bias=false)
BatchNorm1d()
Tanh
Linear(5)
""",
        build=lambda: net(
            nn.BatchNorm2d(2, affine=False), nn.Conv2d(2, 6, 3, bias=False),
            nn.BatchNorm2d(6, eps=0.01, momentum=0.3), nn.Tanh(),
            nn.Conv2d(6, 8, 2, stride=2, bias=False), nn.BatchNorm2d(8, momentum=None), nn.Sigmoid(),
            nn.Flatten(), nn.Linear(8 * 3 * 3, 11, bias=False), nn.BatchNorm1d(11), nn.Tanh(), nn.Linear(11, 5),
        ),
    ),
    Case(
        "dropout", "Dropout of elements and of channels, also in a branch, with the masks of seed 0",
        shape=(2, 8, 7), n=3 * 16 + 7, batch=16, lr=0.2, y=classes(5),
        layers="""
Conv2d(6, kernel_size=3)
Tanh
Dropout2d(0.3)
Add {
    { Conv2d(6, kernel_size=3, padding=1); Dropout(0.25) }
    { Identity }
}
Tanh
Flatten
Linear(20)
Sigmoid
Dropout()
Linear(5)
""",
        build=lambda: net(
            nn.Conv2d(2, 6, 3), nn.Tanh(), Masked(0.3, 0, channels=True),
            Add([net(nn.Conv2d(6, 6, 3, padding=1), Masked(0.25, 1)), net(nn.Identity())]),
            nn.Tanh(), nn.Flatten(), nn.Linear(6 * 6 * 5, 20), nn.Sigmoid(), Masked(0.5, 2), nn.Linear(20, 5),
        ),
    ),
    Case(
        "norm_weighted", "a batch norm before a loss whose mean divides by the weights of each batch's classes",
        shape=(2, 6, 5), n=3 * 16 + 7, batch=16, lr=0.1, y=classes(4),
        loss="CrossEntropyLoss(weight=[0.25, 2.0, 1.0, 4.0])",
        torch_loss=lambda: nn.CrossEntropyLoss(weight=torch.tensor([0.25, 2.0, 1.0, 4.0])),
        layers="""
Conv2d(5, kernel_size=2, bias=false)
BatchNorm2d()
Tanh
Concat {
    { BatchNorm2d(affine=false) }
    { Identity }
}
Conv2d(4, kernel_size=2, bias=false)
BatchNorm2d()
Tanh
Flatten
Linear(4)
""",
        build=lambda: net(
            nn.Conv2d(2, 5, 2, bias=False), nn.BatchNorm2d(5), nn.Tanh(),
            Concat([net(nn.BatchNorm2d(5, affine=False)), net(nn.Identity())]),
            nn.Conv2d(10, 4, 2, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 4 * 3, 4),
        ),
    ),
    Case(
        "residual_norms", "norms in branches that are added, behind a norm whose result both read",
        shape=(2, 8, 8), n=3 * 16 + 7, batch=16, lr=0.1, y=classes(4),
        layers="""
Conv2d(6, kernel_size=3, padding=1, bias=false)
BatchNorm2d(); ReLU
Add {
    {
        Conv2d(6, kernel_size=3, padding=1, bias=false); BatchNorm2d(); ReLU
        Conv2d(6, kernel_size=3, padding=1, bias=false); BatchNorm2d()
    }
    { Identity }
}
ReLU
Add {
    { Conv2d(8, kernel_size=1, stride=2, bias=false); BatchNorm2d() }
    { Conv2d(8, kernel_size=3, stride=2, padding=1, bias=false); GroupNorm(4) }
}
Tanh
AvgPool2d(4)
Flatten
Linear(4)
""",
        build=lambda: net(
            nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            Add([
                net(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
                    nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)),
                net(nn.Identity()),
            ]),
            nn.ReLU(),
            Add([
                net(nn.Conv2d(6, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8)),
                net(nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False), nn.GroupNorm(4, 8)),
            ]),
            nn.Tanh(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8, 4),
        ),
    ),
    Case(
        "image_norms", "norms of each image by itself: of groups, of one group, of all elements, of vectors",
        shape=(4, 7, 6), n=2 * 16 + 1, batch=16, lr=0.2, y=classes(4),
        layers="""
Conv2d(6, kernel_size=3)
GroupNorm(3)
Tanh
Conv2d(8, kernel_size=2, stride=2)
LayerNorm(eps=0.001)
Tanh
GroupNorm(1, affine=false)
Flatten
Linear(9)
LayerNorm()
Tanh
LayerNorm(elementwise_affine=false)
Linear(4)
""",
        build=lambda: net(
            nn.Conv2d(4, 6, 3), nn.GroupNorm(3, 6), nn.Tanh(),
            nn.Conv2d(6, 8, 2, stride=2), nn.LayerNorm((8, 2, 2), eps=0.001), nn.Tanh(),
            nn.GroupNorm(1, 8, affine=False), nn.Flatten(), nn.Linear(32, 9), nn.LayerNorm(9), nn.Tanh(),
            nn.LayerNorm(9, elementwise_affine=False), nn.Linear(9, 4),
        ),
    ),
    Case(
        "bn_lenet", "LeNet with batch norms from xavier-uniform weights: 20 batches of Fashion-MNIST",
        shape=(1, 28, 28), n=5120, batch=256, lr=0.3, layers=BN_LENET, build=bn_lenet, start=xavier, lenet=True,
        vanishing=("0.bias", "4.bias", "9.bias", "12.bias"),
    ),
    Case(
        "activations", "activations with arguments and without, behind convolutions",
        shape=(2, 8, 9), n=3 * 16 + 7, batch=16, lr=0.3, y=classes(5), start=twice,
        layers="""
Conv2d(4, kernel_size=3)
LeakyReLU(0.2)
Conv2d(5, kernel_size=2)
SiLU
Conv2d(6, kernel_size=2)
GELU
Conv2d(6, kernel_size=2)
ELU(alpha=0.5)
Flatten
Linear(5)
""",
        build=lambda: net(
            nn.Conv2d(2, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 5, 2), nn.SiLU(), nn.Conv2d(5, 6, 2), nn.GELU(),
            nn.Conv2d(6, 6, 2), nn.ELU(alpha=0.5), nn.Flatten(), nn.Linear(6 * 3 * 4, 5),
        ),
    ),
    Case(
        "activations_of_vectors", "activations with arguments and without, behind linear layers",
        shape=(1, 4, 6), n=3 * 16 + 3, batch=16, lr=0.3, y=classes(5), start=twice,
        layers="""
Flatten
Linear(16); Softplus(beta=2)
Linear(15); Hardswish
Linear(14); GELU(approximate=tanh)
Linear(13); ReLU6
Linear(12); Hardsigmoid
Linear(5)
""",
        build=lambda: net(
            nn.Flatten(), nn.Linear(24, 16), nn.Softplus(beta=2), nn.Linear(16, 15), nn.Hardswish(),
            nn.Linear(15, 14), nn.GELU(approximate="tanh"), nn.Linear(14, 13), nn.ReLU6(),
            nn.Linear(13, 12), nn.Hardsigmoid(), nn.Linear(12, 5),
        ),
    ),
    Case(
        "softmax", "Softmax over channels and over features, and its logarithm",
        shape=(2, 6, 7), n=3 * 12 + 1, batch=12, lr=0.3, y=targets(4), loss="MSELoss", start=twice,
        layers="""
Conv2d(5, kernel_size=2)
Softmax(dim=1)
Conv2d(3, kernel_size=3)
LogSoftmax(dim=-3)
Flatten
Linear(8)
Softmax(dim=-1)
Linear(4)
""",
        build=lambda: net(
            nn.Conv2d(2, 5, 2), nn.Softmax(dim=1), nn.Conv2d(5, 3, 3), nn.LogSoftmax(dim=-3), nn.Flatten(),
            nn.Linear(3 * 3 * 4, 8), nn.Softmax(dim=-1), nn.Linear(8, 4),
        ),
    ),
    Case(
        "l1", "absolute errors between images",
        shape=(2, 6, 5), n=2 * 12 + 7, batch=12, lr=0.5, y=targets(1, 5, 4), loss="L1Loss", torch_loss=nn.L1Loss,
        layers="""
Conv2d(3, kernel_size=2)
Tanh
Conv2d(1, kernel_size=1)
""",
        build=lambda: net(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Conv2d(3, 1, 1)),
    ),
    Case(
        "smooth_l1", "smooth absolute errors on both sides of beta",
        shape=(9,), n=3 * 16 + 1, batch=16, lr=0.2, y=targets(4), loss="SmoothL1Loss(beta=0.5)",
        torch_loss=lambda: nn.SmoothL1Loss(beta=0.5),
        layers="Linear(7); Tanh\nLinear(4)",
        build=lambda: net(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)),
    ),
    Case(
        "huber", "Huber's loss, summed, on both sides of delta",
        shape=(9,), n=3 * 16 + 1, batch=16, lr=0.01, y=targets(4), loss="HuberLoss(reduction=sum, delta=0.75)",
        torch_loss=lambda: nn.HuberLoss(reduction="sum", delta=0.75),
        layers="Linear(7); Tanh\nLinear(4)",
        build=lambda: net(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)),
    ),
    Case(
        "bce", "binary cross-entropy of logits for each pixel",
        shape=(2, 6, 5), n=2 * 12 + 7, batch=12, lr=0.5, y=bits(1, 5, 4), loss="BCEWithLogitsLoss",
        torch_loss=nn.BCEWithLogitsLoss,
        layers="""
Conv2d(3, kernel_size=2)
Tanh
Conv2d(1, kernel_size=1)
""",
        build=lambda: net(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Conv2d(3, 1, 1)),
    ),
    Case(
        "bce_weighted", "binary cross-entropy whose positive answers weigh more or less",
        shape=(9,), n=3 * 16 + 1, batch=16, lr=0.5, y=bits(3),
        loss="BCEWithLogitsLoss(pos_weight=[0.25, 2.0, 5.0])",
        torch_loss=lambda: nn.BCEWithLogitsLoss(pos_weight=torch.tensor([0.25, 2.0, 5.0])),
        layers="Linear(7); Tanh\nLinear(3)",
        build=lambda: net(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3)),
    ),
    Case(
        "nll", "negative log-likelihood, of numbers that are no logarithms",
        shape=(9,), n=3 * 16 + 1, batch=16, lr=0.1, y=classes(5), loss="NLLLoss", torch_loss=nn.NLLLoss,
        layers="Linear(7); Tanh\nLinear(5)",
        build=lambda: net(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 5)),
    ),
    Case(
        "smoothed", "cross-entropy with smoothed labels",
        shape=(9,), n=3 * 16 + 1, batch=16, lr=0.5, y=classes(5), loss="CrossEntropyLoss(label_smoothing=0.1)",
        torch_loss=lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
        layers="Linear(7); Tanh\nLinear(5)",
        build=lambda: net(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 5)),
    ),
    Case(
        "weighted_sum", "cross-entropy with weights of classes, summed, with smoothed labels",
        shape=(9,), n=3 * 16 + 1, batch=16, lr=0.02, y=classes(4),
        loss="CrossEntropyLoss(weight=[0.25, 2.0, 1.0, 4.0], reduction=sum, label_smoothing=0.2)",
        torch_loss=lambda: nn.CrossEntropyLoss(
            weight=torch.tensor([0.25, 2.0, 1.0, 4.0]), reduction="sum", label_smoothing=0.2),
        layers="Linear(7); Tanh\nLinear(4)",
        build=lambda: net(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)),
    ),
    Case(
        "weighted_mean", "cross-entropy with weights of classes, whose mean divides by those of each batch",
        shape=(9,), n=3 * 16 + 7, batch=16, lr=0.3, y=classes(4),
        loss="CrossEntropyLoss(weight=[0.25, 2.0, 1.0, 4.0], label_smoothing=0.2)",
        torch_loss=lambda: nn.CrossEntropyLoss(
            weight=torch.tensor([0.25, 2.0, 1.0, 4.0]), label_smoothing=0.2),
        layers="Linear(7); Tanh\nLinear(4)",
        build=lambda: net(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)),
    ),
    Case(
        "nll_weighted", "negative log-likelihood with weights of classes, whose mean divides by those of each batch",
        shape=(9,), n=3 * 16 + 7, batch=16, lr=0.1, y=classes(4), loss="NLLLoss(weight=[0.25, 2.0, 1.0, 4.0])",
        torch_loss=lambda: nn.NLLLoss(weight=torch.tensor([0.25, 2.0, 1.0, 4.0])),
        layers="Linear(7); Tanh\nLinear(4)",
        build=lambda: net(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)),
    ),
    Case(
        "lenet_init", "LeNet from xavier-uniform weights: 20 batches of Fashion-MNIST",
        shape=(1, 28, 28), n=5120, batch=256, lr=0.9, layers=LENET, build=lenet, start=xavier, lenet=True,
    ),
    Case(
        "lenet_trained", "LeNet from weights trained to a loss below 0.6: 20 batches of Fashion-MNIST",
        shape=(1, 28, 28), n=5120, batch=256, lr=0.9, layers=LENET, build=lenet, start=trained, lenet=True,
    ),
]  # fmt: skip
CASES += updates.cases(Case, classes)


# ---- Training ----


def state(model):
    """The parameters and the buffers, copied."""
    return {name: v.detach().numpy().copy() for name, v in model.state_dict().items()}


def train(case, start, x, y, dtype, change=lambda model: None, onednn=False):
    """Weights and losses of the steps, from `start`, in `dtype`."""
    with torch.backends.mkldnn.flags(enabled=onednn), torch.backends.nnpack.flags(enabled=False):
        return steps(case, start, x, y, dtype, change)


def steps(case, start, x, y, dtype, change):
    model = case.model() if not case.lenet else case.build()
    model.load_state_dict({name: torch.from_numpy(np.asarray(w)) for name, w in start.items()})
    change(model)
    model = model.to(dtype)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    x = x.to(dtype)
    y = y.to(dtype) if y.is_floating_point() else y
    criterion = case.criterion().to(dtype)
    make = case.optimizer or (lambda parameters: torch.optim.SGD(parameters, lr=case.lr))
    optimizer = make(model.parameters())
    schedule, each_step = case.schedule or (None, False)
    schedule = schedule and schedule(optimizer)
    losses, at = [], 0
    for step in range(case.steps):
        rows = slice(at, at + case.batch)
        optimizer.zero_grad()
        out = model(x[rows])
        assert out.shape == y[rows].shape or not y.is_floating_point(), f"{case.name}: {out.shape} and {y.shape}"
        loss = criterion(out, y[rows])
        loss.backward()
        if case.clip:
            case.clip(model.parameters())
        optimizer.step()
        losses.append(loss.item())
        at = at + case.batch if at + case.batch < len(x) else 0
        if schedule and (each_step or at == 0) and step + 1 < case.steps:
            schedule.step()
    return state(model), losses


def evaluated(case, end, x, y):
    """The mean loss over all examples in evaluation."""
    model = case.build()
    model.load_state_dict({name: torch.from_numpy(np.asarray(w)) for name, w in end.items()})
    model = model.double().eval()
    with torch.no_grad():
        return case.criterion().double()(model(torch.from_numpy(x).double()), torch.from_numpy(y)).item()


def distances(start, a, b, but=()):
    """‖Δa − Δb‖ / ‖Δb‖ for each tensor, where Δ is what training added."""
    result = {}
    for name, w in start.items():
        if name in but:
            continue
        delta_a, delta_b = (end[name].astype(np.float64) - w for end in (a, b))
        result[name] = float(np.linalg.norm(delta_a - delta_b) / np.linalg.norm(delta_b))
    return result


def last_wins(model):
    """Replaces max pools by ones that send ties to the last winner."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, LastMax(child))


@dataclasses.dataclass
class Result:
    case: Case
    data: tuple
    start: dict
    end: dict
    losses: list
    noise: float  # the largest distance between f32 and f64
    where: str  # the parameter it belongs to
    onednn: float  # the largest distance between f32 with oneDNN and f64
    moved: float  # the smallest ‖Δ‖ / ‖start‖
    ties: float | None  # the largest distance when ties go to the last winner
    evaluated: float | None = None  # the mean loss in evaluation, where that differs


def record(case):
    x, y = case.data()
    start = state(case.model())
    end, losses = train(case, start, x, y, torch.float32)
    assert np.isfinite(losses).all(), f"{case.name}: losses {losses}"
    end64, _ = train(case, start, x, y, torch.float64)
    far = distances(start, end, end64, case.vanishing)
    where = max(far, key=far.get)
    usual, _ = train(case, start, x, y, torch.float32, onednn=True)
    onednn = max(distances(start, usual, end64, case.vanishing).values())
    moving = [(end[k], w) for k, w in start.items() if np.linalg.norm(w) > 0 and k not in case.vanishing]
    moved = min(np.linalg.norm(e - w) / np.linalg.norm(w) for e, w in moving)
    ties = None
    if any(isinstance(m, nn.MaxPool2d) for m in case.build().modules()):
        wrong, _ = train(case, start, x, y, torch.float32, last_wins)
        ties = max(distances(start, wrong, end).values())
    eval_loss = evaluated(case, end, x, y) if case.has_norms() and not case.lenet else None
    return Result(case, (x, y), start, end, losses, far[where], where, onednn, float(moved), ties, eval_loss)


def write(result):
    case = result.case
    folder = HERE / case.name
    folder.mkdir(exist_ok=True)
    (folder / "model.nn").write_text(case.text())
    if not case.lenet:
        save = np.savez_compressed if case.compressed else np.savez
        save(folder / "data.npz", x=result.data[0], y=result.data[1])
    safetensors.numpy.save_file(result.start, folder / "start.safetensors")
    safetensors.numpy.save_file(result.end, folder / "end.safetensors")
    losses = ",\n    ".join(json.dumps(v) for v in result.losses)
    last = "" if result.evaluated is None else f', "evaluated": {json.dumps(result.evaluated)}'
    (folder / "losses.json").write_text(f'{{"losses": [\n    {losses}\n]{last}}}\n')


def check(result):
    """Compares a run here with what is recorded; says whether they agree."""
    folder = HERE / result.case.name
    start = safetensors.numpy.load_file(folder / "start.safetensors")
    end = safetensors.numpy.load_file(folder / "end.safetensors")
    x, y = result.data
    if not result.case.lenet:
        with np.load(folder / "data.npz") as data:
            x, y = data["x"], data["y"]
    again, losses = train(result.case, start, x, y, torch.float32)
    far = max(distances(start, again, end, result.case.vanishing).values())
    recorded = json.loads((folder / "losses.json").read_text())["losses"]
    loss = max(abs(a - b) / abs(b) for a, b in zip(losses, recorded, strict=True))
    text = (folder / "model.nn").read_text() == result.case.text()
    good = far <= LIMIT and loss <= LIMIT and text
    said = f"updates within {far:.1e}, losses within {loss:.1e}" + ("" if text else ", model.nn differs")
    print(f"{'ok  ' if good else 'FAIL'} {result.case.name}: {said}")
    return good


# ---- What is said about it ----


def table(results):
    lines = [
        "| case | tests | examples, batch | lr | loss, first and last | Δ against start | f32 against f64 | with oneDNN | ties |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in results:
        c = r.case
        ties = "" if r.ties is None else f"{r.ties:.0e}"
        lines.append(
            f"| `{c.name}` | {c.about} | {c.n}, {c.batch} | {c.lr or ''} | {r.losses[0]:.4g}, {r.losses[-1]:.4g} "
            f"| {r.moved:.2g} | {r.noise:.1e} (`{r.where}`) | {r.onednn:.1e} | {ties} |"
        )
    return "\n".join(lines)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def provenance(results):
    return {
        "made_by": "tests/torch/generate.py",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
        "python": platform.python_version(),
        "cpu": processor(),
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": False,
        "threads": torch.get_num_threads(),
        "steps": STEPS,
        "steps_of_updates": updates.STEPS,
        "cases": {
            r.case.name: {
                "f32_against_f64": float(f"{r.noise:.3g}"),
                "f32_against_f64_at": r.where,
                "f32_with_onednn_against_f64": float(f"{r.onednn:.3g}"),
                "smallest_update": float(f"{r.moved:.3g}"),
            }
            for r in results
        },
    }


def main():
    parser = argparse.ArgumentParser(description="Records what PyTorch learns from small nets.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these cases")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is recorded")
    options = parser.parse_args()
    # One thread, so that sums have one order.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if unknown := set(options.names) - {c.name for c in CASES}:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if options.check:
        results = []
        good = True
        for case in CASES:
            if not options.names or case.name in options.names:
                # The recorded start is used; only the data are made again.
                good &= check(Result(case, case.data(), {}, {}, [], 0, "", 0, 0, None))
        sys.exit(not good)
    results = []
    for case in CASES:
        if not options.names or case.name in options.names:
            results.append(record(case))
            write(results[-1])
    text = table(results)
    print(text)
    if not options.names:
        (HERE / "provenance.json").write_text(json.dumps(provenance(results), indent=4) + "\n")
        worst = max(results, key=lambda r: r.noise)
        made = (
            f"Written with torch {torch.__version__}, numpy {np.__version__}, one thread, without oneDNN, "
            f"{torch.backends.cpu.get_cpu_capability()}, on {processor()}. "
            f"The largest distance between f32 and f64 is {worst.noise:.1e}, of `{worst.case.name}`."
        )
        readme = HERE / "README.md"
        before, rest = readme.read_text().split("<!-- table -->\n", 1)
        after = rest.split("<!-- end of table -->\n", 1)[1]
        readme.write_text(f"{before}<!-- table -->\n{made}\n\n{text}\n<!-- end of table -->\n{after}")
    failed = [f"{r.case.name}: f32 and f64 are {r.noise:.1e} apart, at {r.where}" for r in results if not r.noise < LIMIT]
    failed += [f"{r.case.name}: updates only {r.moved:.1e} of the weights" for r in results if r.moved < 0.005]
    failed += [f"{r.case.name}: does not notice where ties go" for r in results if r.case.ties and r.ties < 0.01]
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
