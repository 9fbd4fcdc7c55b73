"""Cases about what a step makes of gradients: optimizers, schedules, clipping. generate.py records them as its own.

All train one small net for 30 steps, in epochs of one whole and one partial batch. Beside them stand the values of each
schedule alone, which `rates.json` has: `python tests/torch/updates.py` writes it.
"""

import json
import pathlib
import sys

import torch
from torch import nn
from torch.optim import lr_scheduler as lr
from torch.optim.lr_scheduler import SequentialLR

HERE = pathlib.Path(__file__).resolve().parent
STEPS = 30
LAYERS = """
Conv2d(3, kernel_size=3)
Tanh
AvgPool2d(2)
Flatten
Linear(5)
"""


def model():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 5))


def groups(parameters, decay):
    """Weight decay for all but the biases."""
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def by_norm(most):
    return lambda parameters: nn.utils.clip_grad_norm_(parameters, most)


def by_value(most):
    return lambda parameters: nn.utils.clip_grad_value_(parameters, most)


def sgd(rate, **more):
    return lambda parameters: torch.optim.SGD(parameters, rate, **more)


def warm_then_cosine(optimizer):
    warm = lr.LinearLR(optimizer, start_factor=0.1, total_iters=4)
    return SequentialLR(optimizer, [warm, lr.CosineAnnealingLR(optimizer, 11, eta_min=0.001)], milestones=[4])


# Name, what it tests, the entries of lenetc's `train`, the same in torch: the optimizer, the schedule and whether each
# step moves it, what is done to gradients.
UPDATES = [
    ("sgd_momentum", "momentum", "optimizer = SGD(lr=0.1, momentum=0.9)", sgd(0.1, momentum=0.9)),
    (
        "sgd_nesterov", "Nesterov's momentum and weight decay",
        "optimizer = SGD(lr=0.05, momentum=0.8, weight_decay=0.01, nesterov=true)",
        sgd(0.05, momentum=0.8, weight_decay=0.01, nesterov=True),
    ),
    (
        "sgd_dampening", "a momentum that is dampened, but for its first step",
        "optimizer = SGD(lr=0.1, momentum=0.9, dampening=0.3)", sgd(0.1, momentum=0.9, dampening=0.3),
    ),
    (
        "sgd_decay", "weight decay without biases",
        "optimizer = SGD(lr=0.2, weight_decay=0.05, decay_biases=false)",
        lambda parameters: torch.optim.SGD(groups(parameters, 0.05), 0.2),
    ),
    ("adam", "Adam", "optimizer = Adam(lr=0.01)", lambda p: torch.optim.Adam(p, 0.01, foreach=False)),
    (
        "adam_decay", "Adam with all of its numbers",
        "optimizer = Adam(lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.05)",
        lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.99), 1e-6, 0.05, foreach=False),
    ),
    (
        "adam_amsgrad", "Adam by the greatest mean of squares",
        "optimizer = Adam(lr=0.02, betas=(0.9, 0.9), amsgrad=true)",
        lambda p: torch.optim.Adam(p, 0.02, (0.9, 0.9), amsgrad=True, foreach=False),
    ),
    (
        "adamw", "AdamW", "optimizer = AdamW(lr=0.01, weight_decay=0.5)",
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5, foreach=False),
    ),
    (
        "adamw_biases", "AdamW without decay of biases",
        "optimizer = AdamW(lr=0.01, weight_decay=0.5, decay_biases=false)",
        lambda p: torch.optim.AdamW(groups(p, 0.5), 0.01, foreach=False),
    ),
    (
        "rmsprop", "RMSprop", "optimizer = RMSprop(lr=0.005)",
        lambda p: torch.optim.RMSprop(p, 0.005, foreach=False),
    ),
    (
        "rmsprop_centered", "RMSprop, centered, with momentum and weight decay",
        "optimizer = RMSprop(lr=0.002, alpha=0.9, momentum=0.8, centered=true, weight_decay=0.01, eps=1e-6)",
        lambda p: torch.optim.RMSprop(
            p, 0.002, 0.9, momentum=0.8, centered=True, weight_decay=0.01, eps=1e-6, foreach=False
        ),
    ),
    ("adagrad", "Adagrad", "optimizer = Adagrad(lr=0.05)", lambda p: torch.optim.Adagrad(p, 0.05, foreach=False)),
    (
        "adagrad_decay", "Adagrad with all of its numbers",
        "optimizer = Adagrad(lr=0.1, lr_decay=0.1, weight_decay=0.02, initial_accumulator_value=0.1, eps=1e-8)",
        lambda p: torch.optim.Adagrad(p, 0.1, 0.1, 0.02, 0.1, 1e-8, foreach=False),
    ),
    (
        "clip_norm", "gradients clipped by their norm in most steps, with momentum",
        "optimizer = SGD(lr=0.3, momentum=0.5)\nclip_grad_norm = 0.5", sgd(0.3, momentum=0.5), None, by_norm(0.5),
    ),
    (
        "clip_norm_adamw", "gradients clipped by their norm before AdamW",
        "optimizer = AdamW(lr=0.02)\nclip_grad_norm = 0.4",
        lambda p: torch.optim.AdamW(p, 0.02, foreach=False), None, by_norm(0.4),
    ),
    (
        "clip_value", "gradients clipped element by element",
        "optimizer = SGD(lr=0.5)\nclip_grad_value = 0.03", sgd(0.5), None, by_value(0.03),
    ),
    (
        "step_lr", "the learning rate in steps", "optimizer = SGD(lr=0.4)\nschedule = StepLR(step_size=4, gamma=0.3)",
        sgd(0.4), (lambda o: lr.StepLR(o, 4, 0.3), False),
    ),
    (
        "warm_cosine", "a warm-up, then a cosine",
        "optimizer = SGD(lr=0.4, momentum=0.5)\n"
        "schedule = [LinearLR(start_factor=0.1, total_iters=4), CosineAnnealingLR(T_max=11, eta_min=0.001)]",
        sgd(0.4, momentum=0.5), (warm_then_cosine, False),
    ),
    (
        "one_cycle", "one cycle of learning rate and momentum, which SGD takes though it names none",
        "optimizer = SGD(lr=0.1)\nschedule = OneCycleLR(max_lr=0.3)",
        sgd(0.1), (lambda o: lr.OneCycleLR(o, 0.3, total_steps=STEPS), True),
    ),
    (
        "one_cycle_adam", "one cycle in three phases, of Adam's first beta too",
        "optimizer = Adam(lr=0.1)\n"
        'schedule = OneCycleLR(max_lr=0.03, pct_start=0.4, anneal_strategy="linear", three_phase=true)',
        lambda p: torch.optim.Adam(p, 0.1, foreach=False),
        (
            lambda o: lr.OneCycleLR(
                o, 0.03, total_steps=STEPS, pct_start=0.4, anneal_strategy="linear", three_phase=True
            ),
            True,
        ),
    ),
]  # fmt: skip


def cases(case, labels):
    """As generate.py's `Case`, `case`, has them; `labels` makes the labels."""
    result = []
    for name, about, entries, optimizer, *more in UPDATES:
        schedule, clip = (more + [None, None])[:2]
        result.append(
            case(
                name, about, shape=(1, 8, 8), n=12, batch=8, lr=0.0, y=labels(5), layers=LAYERS, build=model,
                steps=STEPS, entries=entries, optimizer=optimizer, schedule=schedule, clip=clip,
            )
        )  # fmt: skip
    return result


# The values of schedules alone: as lenetc writes them, and how torch makes them. Per epoch; OneCycleLR per step.
RATES = [
    ("StepLR(7, 0.5)", lambda o: lr.StepLR(o, 7, 0.5)),
    ("StepLR(step_size=10)", lambda o: lr.StepLR(o, 10)),
    ("MultiStepLR([3, 8, 8, 21], gamma=0.7)", lambda o: lr.MultiStepLR(o, [3, 8, 8, 21], 0.7)),
    ("ExponentialLR(0.93)", lambda o: lr.ExponentialLR(o, 0.93)),
    ("CosineAnnealingLR(T_max=40)", lambda o: lr.CosineAnnealingLR(o, 40)),
    ("CosineAnnealingLR(11, eta_min=0.02)", lambda o: lr.CosineAnnealingLR(o, 11, 0.02)),
    ("LinearLR", lambda o: lr.LinearLR(o)),
    ("LinearLR(0.25, 0.75, 17)", lambda o: lr.LinearLR(o, 0.25, 0.75, 17)),
    (
        "[LinearLR(0.01, total_iters=6), CosineAnnealingLR(34)]",
        lambda o: SequentialLR(o, [lr.LinearLR(o, 0.01, total_iters=6), lr.CosineAnnealingLR(o, 34)], [6]),
    ),
    (
        "[LinearLR(0.1, total_iters=3), CosineAnnealingLR(9, eta_min=0.1), ExponentialLR(0.9)]",
        lambda o: SequentialLR(
            o,
            [lr.LinearLR(o, 0.1, total_iters=3), lr.CosineAnnealingLR(o, 9, 0.1), lr.ExponentialLR(o, 0.9)],
            [3, 12],
        ),
    ),
    (
        "[LinearLR(0.2, total_iters=5), StepLR(6, 0.5)]",
        lambda o: SequentialLR(o, [lr.LinearLR(o, 0.2, total_iters=5), lr.StepLR(o, 6, 0.5)], [5]),
    ),
    (
        "[CosineAnnealingLR(8), MultiStepLR([4, 9], 0.5)]",
        lambda o: SequentialLR(o, [lr.CosineAnnealingLR(o, 8), lr.MultiStepLR(o, [4, 9], 0.5)], [8]),
    ),
]
CYCLES = [
    ("OneCycleLR(0.8)", {}),
    ("OneCycleLR(max_lr=0.5, pct_start=0.25, div_factor=10, final_div_factor=100)",
     {"max_lr": 0.5, "pct_start": 0.25, "div_factor": 10, "final_div_factor": 100}),
    ("OneCycleLR(0.8, anneal_strategy=linear, base_momentum=0.7, max_momentum=0.9)",
     {"anneal_strategy": "linear", "base_momentum": 0.7, "max_momentum": 0.9}),
    ("OneCycleLR(0.8, three_phase=true, pct_start=0.45)", {"three_phase": True, "pct_start": 0.45}),
    ("OneCycleLR(0.8, cycle_momentum=false)", {"cycle_momentum": False}),
]  # fmt: skip
EPOCHS = 40


def values(make, count):
    """The learning rate and the momentum of so many steps of a schedule."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.3, momentum=0.5)
    schedule = make(optimizer)
    rates, momenta = [], []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if len(rates) < count:
            schedule.step()
    return rates, momenta


def record_rates():
    entries = []
    for text, make in RATES:
        rates, _ = values(make, EPOCHS)
        entries.append({"schedule": text, "by": "epoch", "rates": rates})
    for steps in [50, 37]:
        for text, more in CYCLES:
            more = {"max_lr": 0.8, **more}
            rates, momenta = values(lambda o: lr.OneCycleLR(o, total_steps=steps, **more), steps)
            entries.append({"schedule": text, "by": "step", "rates": rates, "momenta": momenta})
    lines = ",\n    ".join(json.dumps(e) for e in entries)
    text = f'{{"made_by": "tests/torch/updates.py", "torch": "{torch.__version__}", "entries": [\n    {lines}\n]}}\n'
    (HERE / "rates.json").write_text(text)


if __name__ == "__main__":
    sys.exit(record_rates())
