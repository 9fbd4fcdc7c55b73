#!/usr/bin/env python3
"""Writes the archives of this folder with NumPy itself, so that what is read is what NumPy writes."""

import pathlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
images = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)

np.savez(HERE / "stored.npz", x=images, y=np.array([2, 0, 1]))
np.savez_compressed(
    HERE / "deflated.npz",
    x=(images[:, None] / 2).astype(">f8"),
    y=np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2),
    x_test=(images[:2, None] / 4).astype("<f4"),
    y_test=np.ones((2, 2)),
)
np.savez(HERE / "fortran.npz", x=np.asfortranarray(images), y=np.array([2, 0, 1], dtype=np.uint8))
np.savez(HERE / "no_y_test.npz", x=images, y=np.zeros(3, dtype=np.int32), x_test=images)
