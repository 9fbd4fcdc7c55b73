#!/usr/bin/env python3
"""Writes the subset of Fashion-MNIST that is compiled into the program, beside this script.

The first 10,000 training and the first 2,000 test examples of the real set, which Debian's package
dataset-fashion-mnist installs. The output depends on the input and on zlib alone: no names, no times.

    python3 make.py [FOLDER]
"""

import gzip
import pathlib
import struct
import sys

SOURCE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")
TARGET = pathlib.Path(__file__).resolve().parent


def first(name, count, rank):
    """Keeps the first `count` examples of the IDX file `name`, whose elements are bytes."""
    with gzip.open(SOURCE / name) as source:
        magic = source.read(4)
        assert magic == bytes([0, 0, 8, rank]), (name, magic)
        available, *shape = struct.unpack(f">{rank}I", source.read(4 * rank))
        assert count <= available, (name, available)
        size = count
        for dim in shape:
            size *= dim
        data = source.read(size)
        assert len(data) == size, (name, len(data))
    header = magic + struct.pack(f">{rank}I", count, *shape)
    (TARGET / name).write_bytes(gzip.compress(header + data, 9, mtime=0))


for part, count in [("train", 10_000), ("t10k", 2_000)]:
    first(f"{part}-images-idx3-ubyte.gz", count, 3)
    first(f"{part}-labels-idx1-ubyte.gz", count, 1)
