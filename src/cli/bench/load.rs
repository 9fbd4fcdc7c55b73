//! Whether the machine was busy with something else while it was measured, in words and as numbers.
//!
//! Reads Linux's counters of processor time; where there are none, only the spread of the repeats tells. Does not know
//! what was measured.

use serde_json::{Value, json};

/// What is beyond these makes figures that nobody should quote: how far repeats are apart, and the parts of the
/// processors' time that were stolen and that other processes took.
const SPREAD: f64 = 0.15;
const STOLEN: f64 = 0.02;
const OTHERS: f64 = 0.05;
/// Ticks of all processors together that a measurement takes at least to say what else ran.
const LEAST_TICKS: u64 = 100;

/// Processor time in ticks, as the system counts it since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    all: u64,
    /// Given to other virtual machines.
    stolen: u64,
    /// Of all processes.
    busy: u64,
    /// Of this process.
    own: u64,
}

/// Watches the machine from a start on.
pub struct Watch {
    start: Option<Ticks>,
}

/// What a machine did beside a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// How far repeats of the same are apart, as a part of their median.
    pub spread: f64,
    /// What else took the processors; where it is known.
    pub beside: Option<Beside>,
}

/// Parts of the time of all processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    pub stolen: f64,
    pub others: f64,
}

impl Watch {
    pub fn start() -> Self {
        Self {
            start: Ticks::now(),
        }
    }

    /// What happened since the start, where repeats were apart so far.
    pub fn stop(self, spread: f64) -> Load {
        let both = self.start.zip(Ticks::now());
        Load {
            spread,
            beside: both.and_then(|(start, end)| Beside::between(start, end)),
        }
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        let read = |path| std::fs::read_to_string(path).ok();
        Self::parse(&read("/proc/stat")?, &read("/proc/self/stat")?)
    }

    /// From the texts of `/proc/stat` and `/proc/self/stat`.
    fn parse(system: &str, own: &str) -> Option<Self> {
        let line = system.lines().find(|l| l.starts_with("cpu "))?;
        let fields = line.split_whitespace().skip(1).take(8);
        let fields: Option<Vec<u64>> = fields.map(|n| n.parse().ok()).collect();
        let fields = fields?;
        let &[user, nice, kernel, _, _, irq, soft_irq, stolen] = &fields[..] else {
            return None;
        };
        // The name before the last parenthesis may hold anything.
        let mut own = own.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut next = || own.next()?.parse::<u64>().ok();
        Some(Self {
            all: fields.iter().sum(),
            stolen,
            busy: user + nice + kernel + irq + soft_irq,
            own: next()? + next()?,
        })
    }
}

impl Beside {
    fn between(start: Ticks, end: Ticks) -> Option<Self> {
        let since = |of: fn(&Ticks) -> u64| of(&end).saturating_sub(of(&start));
        let all = since(|t| t.all);
        let part = |ticks: u64| ticks as f64 / all as f64;
        (all >= LEAST_TICKS).then(|| Self {
            stolen: part(since(|t| t.stolen)),
            others: part(since(|t| t.busy).saturating_sub(since(|t| t.own))),
        })
    }
}

impl Load {
    /// Whether the figures say more of the machine's other work than of what was measured.
    pub fn busy(&self) -> bool {
        let beside = |b: Beside| b.stolen > STOLEN || b.others > OTHERS;
        self.spread > SPREAD || self.beside.is_some_and(beside)
    }

    /// The same in a sentence.
    pub fn text(&self) -> String {
        let percent = |part: f64| format!("{:.0} %", 100.0 * part);
        let spread = percent(self.spread);
        let beside = match self.beside {
            None => "what else ran is not known".into(),
            Some(b) => format!(
                "{} of the time was stolen by other virtual machines, other processes took {}",
                percent(b.stolen),
                percent(b.others)
            ),
        };
        let facts = format!("repeats differ by {spread}, {beside}");
        match (self.busy(), self.beside) {
            (true, _) => format!("was busy: {facts}; these figures are not to be quoted"),
            (false, Some(_)) => format!("was quiet: {facts}"),
            (false, None) => format!("seems quiet: {facts}"),
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "busy": self.busy(),
            "repeats_differ": self.spread,
            "stolen": self.beside.map(|b| b.stolen),
            "other_processes": self.beside.map(|b| b.others),
            "text": format!("the machine {}", self.text()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_as_linux_writes_them() {
        let system = "cpu  100 20 30 400 5 6 7 8 90 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n";
        let own = "17 (a (b) 9) R 1 1 1 0 -1 4194304 101 0 0 0 12 3 0 0 20 0 1 0 98742";
        let ticks = Ticks {
            all: 576,
            stolen: 8,
            busy: 163,
            own: 15,
        };
        assert_eq!(Ticks::parse(system, own), Some(ticks));
        for (system, own) in [
            ("", own),
            ("cpu  1 2 3\n", own),
            ("cpu  1 2 3 4 5 6 7 x\n", own),
            (system, ""),
            (system, "17 (a) R 1"),
        ] {
            assert_eq!(Ticks::parse(system, own), None, "{system} {own}");
        }
    }

    #[test]
    fn what_others_took_is_told_from_what_was_measured() {
        let start = Ticks {
            all: 1000,
            stolen: 10,
            busy: 500,
            own: 100,
        };
        let end = Ticks {
            all: 2000,
            stolen: 130,
            busy: 1300,
            own: 500,
        };
        let beside = Beside {
            stolen: 0.12,
            others: 0.4,
        };
        assert_eq!(Beside::between(start, end), Some(beside));
        assert_eq!(Beside::between(start, Ticks { all: 1099, ..end }), None);
        // Counters of the process and of the system need not agree to the tick.
        let own = Ticks { own: 1000, ..end };
        assert_eq!(Beside::between(start, own).map(|b| b.others), Some(0.0));
    }

    #[test]
    fn a_busy_machine_is_said_to_be() {
        let quiet = Load {
            spread: 0.03,
            beside: Some(Beside {
                stolen: 0.0,
                others: 0.01,
            }),
        };
        assert_eq!(
            quiet.text(),
            "was quiet: repeats differ by 3 %, 0 % of the time was stolen by other virtual machines, \
             other processes took 1 %"
        );
        let busy = Load {
            spread: 0.35,
            beside: None,
        };
        assert_eq!(
            busy.text(),
            "was busy: repeats differ by 35 %, what else ran is not known; \
             these figures are not to be quoted"
        );
        for (stolen, others, expected) in [(0.0, 0.0, false), (0.03, 0.0, true), (0.0, 0.06, true)]
        {
            let beside = Some(Beside { stolen, others });
            assert_eq!(Load { beside, ..quiet }.busy(), expected);
        }
        let unknown = Load {
            beside: None,
            ..quiet
        };
        assert!(
            unknown
                .text()
                .starts_with("seems quiet: repeats differ by 3 %, ")
        );
        assert_eq!(busy.json()["busy"], true);
        assert!(busy.json()["stolen"].is_null());
    }
}
