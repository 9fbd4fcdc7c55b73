#!/usr/bin/env python3
"""LeNet in ONNX Runtime: how long it takes to classify a batch.

The net is that of torch_lenet.py, exported by torch. Two things are timed in turn: a call alone, whose images are f32
and lie where the last batch lay; and what lenetc and torch_lenet.py do, gathering a batch of bytes by a shuffled index,
dividing by 255, the call, and the classes. Needs torch, onnx, numpy and onnxruntime. Prints one line of JSON, the times
medians:

    {"call_us": ..., "classify_us": ..., "onnxruntime": ..., "threads": ..., "batch": ...}
"""

import argparse
import io
import json
import time
import warnings
from statistics import median

import numpy
import onnxruntime
import torch
from torch_lenet import lenet


def session(threads):
    """The exported net, on so many threads of ONNX Runtime's own."""
    out = io.BytesIO()
    axes = {"images": {0: "batch"}, "logits": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            lenet().eval(), (torch.rand(2, 1, 28, 28),), out, dynamo=False,
            input_names=["images"], output_names=["logits"], dynamic_axes=axes,
        )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(out.getvalue(), options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description="LeNet's speed in ONNX Runtime.")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="after a warm-up of a fifth of that (default 5)")
    options = parser.parse_args()
    net = session(options.threads)
    random = numpy.random.default_rng(0)
    data = random.integers(0, 256, (60000, 1, 28, 28), dtype=numpy.uint8)
    images = random.random((options.batch, 1, 28, 28), dtype=numpy.float32)

    def call():
        net.run(None, {"images": images})

    def classify():
        batch = data[index].astype(numpy.float32)
        batch *= numpy.float32(1 / 255)
        net.run(None, {"images": batch})[0].argmax(1)

    times = {"call_us": [], "classify_us": []}
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + 1.2 * options.seconds:
        for name, run in (("call_us", call), ("classify_us", classify)):
            # As many calls in a row as fill some milliseconds: the first of them wakes what the other left asleep.
            for _ in range(1 + 2000 // options.batch):
                index = random.integers(0, len(data), options.batch)
                before = time.perf_counter()
                run()
                if now > start + 0.2 * options.seconds:
                    times[name].append(time.perf_counter() - before)
    result = {name: 1e6 * median(all) for name, all in times.items()}
    version = {"onnxruntime": onnxruntime.__version__}
    print(json.dumps(result | version | {"threads": options.threads, "batch": options.batch}))


if __name__ == "__main__":
    main()
