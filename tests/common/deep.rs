//! Nets of many layers, written as text. Does not know what is tested.

use std::fmt::Write as _;

fn train(data: &str, batch: u32) -> String {
    format!(
        "train {{\n    data = {data}\n    loss = CrossEntropyLoss\n    optimizer = SGD(lr=0.1)\n    \
         batch_size = {batch}\n    epochs = 1000\n    print_every = 1\n}}\n"
    )
}

/// So many layers of one width, a Sigmoid behind each, between images and classes.
pub fn equal(layers: u32, width: u32, batch: u32) -> String {
    let train = train("fashion_mnist", batch);
    format!(
        "model Deep {{\n    input(1, 28, 28)\n    Flatten\n    repeat {layers} {{ Linear({width}); Sigmoid }}\n    \
         Linear(10)\n}}\n{train}"
    )
}

/// Layers of the network's body as they are given, one a line.
pub fn of_layers(layers: &[String], batch: u32) -> String {
    let mut out = String::from("model Drawn {\n    input(1, 28, 28)\n    AvgPool2d(4)\n");
    for layer in layers {
        let _ = writeln!(out, "    {layer}");
    }
    out + "    Flatten; Linear(10)\n}\n" + &train("fashion_mnist", batch)
}

/// Joins within joins of layers that are few in kind and one in width, so that formulas repeat which read different
/// values. `draw(n)` gives a number below n.
pub fn joined(depth: u32, draw: &mut impl FnMut(usize) -> usize) -> Vec<String> {
    let layers = (0..1 + draw(3)).map(|_| {
        if depth == 0 || draw(5) < 2 {
            return ["Linear(8)", "Linear(8); Sigmoid", "Linear(8); Tanh"][draw(3)].to_string();
        }
        let within = joined(depth - 1, draw).join("; ");
        let mut branches = vec![format!("{{ {within} }}"); 1 + draw(2)];
        branches.push("{ Identity }".into());
        format!("Add {{ {} }}", branches.join(" "))
    });
    layers.collect()
}

/// A join of so many branches, over maps of 7 × 7.
pub fn wide(join: &str, branches: usize, batch: u32) -> String {
    let branch = "{ Conv2d(2, kernel_size=1); Tanh }";
    let branches = vec![branch; branches].join(" ");
    of_layers(&[format!("{join} {{ {branches} }}"), "ReLU".into()], batch)
}

/// ResNet-18 without its normalisation, for images of 3 channels: `size` is 224, or 32 with a smaller stem.
pub fn resnet18(size: u32, batch: u32) -> String {
    let (stem, pool, classes) = match size {
        224 => (
            "Conv2d(64, kernel_size=7, stride=2, padding=3); ReLU; MaxPool2d(3, stride=2, padding=1)",
            7,
            1000,
        ),
        _ => ("Conv2d(64, kernel_size=3, padding=1); ReLU", 4, 10),
    };
    let body = |stride: u32| {
        format!(
            "{{ Conv2d(channels, kernel_size=3, stride={stride}, padding=1); ReLU; \
             Conv2d(channels, kernel_size=3, padding=1) }}"
        )
    };
    let block = |name: &str, stride: u32, other: &str| {
        let body = body(stride);
        format!(
            "block {name}(channels) {{\n    Add {{\n        {body}\n        {other}\n    }}\n    ReLU\n}}\n"
        )
    };
    let same = block("Same", 1, "{ Identity }");
    let down = block("Down", 2, "{ Conv2d(channels, kernel_size=1, stride=2) }");
    let train = train("npz(\"images.npz\")", batch);
    format!(
        "{same}{down}model ResNet18 {{\n    input(3, {size}, {size})\n    {stem}\n    Same(64); Same(64)\n    \
         Down(128); Same(128)\n    Down(256); Same(256)\n    Down(512); Same(512)\n    \
         AvgPool2d({pool}); Flatten; Linear({classes})\n}}\n{train}"
    )
}
