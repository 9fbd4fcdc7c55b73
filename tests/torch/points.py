#!/usr/bin/env python3
"""Records activations of PyTorch and their gradients where they bend, saturate, or are not finite.

Writes points.json: the numbers x, and for each activation, as lenetc prints it, y and dx for dy = 1, all as the eight
hexadecimal digits of each f32's bits. Torch computes in f64 what is then rounded, so that nothing but the function is
recorded. See generate.py for how to run it.
"""

import json
import math
import pathlib

import numpy as np
import torch
from torch import nn

ACTIVATIONS = {
    "Sigmoid": nn.Sigmoid(),
    "Tanh": nn.Tanh(),
    "ReLU": nn.ReLU(),
    "LeakyReLU negative_slope=0.25": nn.LeakyReLU(0.25),
    "ReLU6": nn.ReLU6(),
    "ELU alpha=1": nn.ELU(),
    "ELU alpha=0.5": nn.ELU(alpha=0.5),
    "GELU approximate=none": nn.GELU(),
    "GELU approximate=tanh": nn.GELU(approximate="tanh"),
    "SiLU": nn.SiLU(),
    "Softplus beta=1 threshold=20": nn.Softplus(),
    "Softplus beta=2 threshold=1": nn.Softplus(beta=2, threshold=1),
    "Hardswish": nn.Hardswish(),
    "Hardsigmoid": nn.Hardsigmoid(),
}
POINTS = [0.0, 1e-8, 1e-4, 0.1, 0.5, 0.75, 1.0, 1.278, 2.5, 2.9999998, 3.0, 3.0000002, 5.5, 5.9999995, 6.0, 6.0000005]
POINTS += [9.0, 10.0, 10.000001, 14.0, 20.0, 20.000002, 88.0, 200.0, 1e10, math.inf]


def bits(values):
    return " ".join(f"{b:08x}" for b in np.asarray(values, np.float32).view(np.uint32))


def main():
    points = np.array([s * p for p in POINTS for s in (1.0, -1.0)] + [math.nan], np.float32)
    recorded = {"torch": torch.__version__, "x": bits(points), "activations": {}}
    for name, layer in ACTIVATIONS.items():
        x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
        y = layer(x)
        y.backward(torch.ones_like(y))
        recorded["activations"][name] = {"y": bits(y.detach().numpy()), "dx": bits(x.grad.numpy())}
    path = pathlib.Path(__file__).resolve().parent / "points.json"
    path.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
