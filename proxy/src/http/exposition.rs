//! Prometheus' text format.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write};

/// What the format is called.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a metric. Its samples follow, and no other's.
    pub(super) fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> Samples<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Samples {
            out: &mut self.0,
            name,
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A metric whose samples are being added.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Samples<'_> {
    /// Adds a value with its labels.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            self.out.push_str(label);
            self.out.push_str("=\"");
            push_escaped(self.out, text);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_with_and_without_labels() {
        let mut out = Exposition::default();
        out.metric("up", Kind::Gauge, "Whether it is up.")
            .add(&[], 1);
        let mut samples = out.metric("waits_total", Kind::Counter, "Waits.");
        samples.add(&[("database", "a\"b\\c\nd"), ("user", "é")], 0.5);
        assert_eq!(
            out.finish(),
            "# HELP up Whether it is up.\n# TYPE up gauge\nup 1\n\
             # HELP waits_total Waits.\n# TYPE waits_total counter\n\
             waits_total{database=\"a\\\"b\\\\c\\nd\",user=\"é\"} 0.5\n"
        );
    }
}
