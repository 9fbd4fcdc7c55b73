#!/usr/bin/env python3
"""LeNet in ONNX Runtime: how long it takes to classify a batch.

The net is that of torch_lenet.py, exported by torch. The images are f32 and lie where the last batch lay; nothing is
gathered or converted. Needs torch, onnx, numpy and onnxruntime. Prints one line of JSON:

    {"p50_us": ..., "images_per_sec": ..., "onnxruntime": ..., "threads": ..., "batch": ...}
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
    images = numpy.random.default_rng(0).random((options.batch, 1, 28, 28), dtype=numpy.float32)
    times = []
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + 1.2 * options.seconds:
        net.run(None, {"images": images})
        if now > start + 0.2 * options.seconds:
            times.append(time.perf_counter() - now)
    result = {"p50_us": 1e6 * median(times), "images_per_sec": options.batch / median(times)}
    version = {"onnxruntime": onnxruntime.__version__}
    print(json.dumps(result | version | {"threads": options.threads, "batch": options.batch}))


if __name__ == "__main__":
    main()
