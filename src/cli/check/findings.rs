//! What the software GPU's sanitizers found, with the layers of the kernel, in words and as JSON.

use lenetc::backend::cuda::Printed;
use lenetc_runtime::cuda::software_report;
use serde_json::{Value, json};

use super::super::bench::{label, layers};
use super::super::{Stop, width};

/// The software GPU's report.
pub fn report() -> Result<Value, Stop> {
    let report = software_report().and_then(|text| serde_json::from_str(&text).ok());
    report.ok_or_else(|| Stop::Message("the software GPU does not say what it found".into()))
}

/// One finding.
pub struct Finding {
    /// As the software GPU tells it.
    told: Value,
    kernel: String,
    layers: Vec<String>,
}

impl Finding {
    /// All of a report.
    pub fn all(report: &Value, printed: &[Printed]) -> Vec<Self> {
        let list = report["findings"].as_array().into_iter().flatten();
        list.map(|told| {
            let kernel = told["kernel"].as_str().unwrap_or_default().to_string();
            let origin = printed.iter().find(|k| k.name == kernel);
            Self {
                told: told.clone(),
                layers: origin.map_or(vec![], |k| layers(&k.origin)),
                kernel,
            }
        })
        .collect()
    }

    /// The kernel with its layers, what happened, where in the PTX, and in which thread; on a page of so many columns.
    pub fn lines(&self, page: usize) -> Vec<String> {
        let text = |key: &str| self.told[key].as_str().unwrap_or_default().to_string();
        let kernel = match self.kernel.is_empty() {
            true => "no kernel".into(),
            false => label(&self.kernel, &self.layers),
        };
        let what = format!("  {} in {kernel}: {}", text("kind"), text("detail"));
        let mut lines = width::fold(&what, page, 4);
        if self.told["line"].as_u64().is_some_and(|l| l > 0) {
            let place = format!(
                "    line {} of the PTX, `{}`, block {}, thread {}",
                self.told["line"],
                words(&text("text")),
                coordinates(&self.told["block"]),
                coordinates(&self.told["thread"]),
            );
            lines.extend(width::fold(&place, page, 4));
        }
        lines
    }

    pub fn json(&self) -> Value {
        let mut object = self.told.clone();
        if let Some(object) = object.as_object_mut() {
            object.insert("layers".into(), json!(self.layers));
        }
        object
    }
}

/// A text whose parts are one blank apart.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A place in a grid or a block: only its first number where the others are zero.
fn coordinates(place: &Value) -> String {
    let numbers: Vec<u64> = place
        .as_array()
        .map_or(vec![], |p| p.iter().filter_map(Value::as_u64).collect());
    match numbers[..] {
        [x, 0, 0] => x.to_string(),
        _ => place.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use lenetc::backend::Origin;
    use lenetc::backend::origin::Part;

    use super::*;

    fn report() -> Value {
        json!({"findings": [{
            "code": 700, "kind": "race_shared", "kernel": "conv2d_sigmoid_2", "line": 1008,
            "text": "ld.shared.v4.f32 \t{%f41, %f42, %f43, %f44}, [%rd75];",
            "block": [3, 0, 0], "thread": [64, 0, 0], "address": 16,
            "detail": "thread 2 wrote it at line 980 (`st.shared.f32 [%rd9], %f1;`) with no barrier between",
        }, {
            "code": 719, "kind": "injected", "kernel": "", "line": 0, "text": "",
            "block": [0, 0, 0], "thread": [0, 0, 0], "address": 0, "detail": "as asked for",
        }]})
    }

    fn found() -> Vec<Finding> {
        let part = |operator, layer: &str| Part {
            operator,
            layer: layer.into(),
        };
        let printed = Printed {
            name: "conv2d_sigmoid_2".into(),
            text: String::new(),
            origin: Origin {
                parts: vec![part("Conv2d", "3"), part("Sigmoid", "4")],
            },
        };
        Finding::all(&report(), &[printed])
    }

    #[test]
    fn a_finding_names_the_kernel_and_its_layers_and_fits_the_page() {
        let lines = found()[0].lines(80);
        assert_eq!(
            lines,
            [
                "  race_shared in conv2d_sigmoid_2 (3, 4): thread 2 wrote it at line 980",
                "    (`st.shared.f32 [%rd9], %f1;`) with no barrier between",
                "    line 1008 of the PTX, `ld.shared.v4.f32 {%f41, %f42, %f43, %f44}, [%rd75];`,",
                "    block 3, thread 64",
            ]
        );
        assert_eq!(found()[0].json()["layers"], json!(["3", "4"]));
    }

    #[test]
    fn what_is_of_no_kernel_has_no_place() {
        assert_eq!(
            found()[1].lines(80),
            ["  injected in no kernel: as asked for"]
        );
        assert_eq!(found()[1].json()["layers"], json!([]));
    }
}
