//! The text format of Prometheus, version 0.0.4.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Write;

/// Its media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A document in the making.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// One metric, whose samples follow.
#[derive(Debug)]
pub(super) struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// A number that only grows.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    /// A number that comes and goes.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// Observations by size: `counts` has one more than `bounds`, for all that is larger.
    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        help: &str,
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        self.family(name, help, "histogram");
        let mut total = 0;
        for (bound, count) in bounds.iter().chain([&f64::INFINITY]).zip(counts) {
            total += count;
            self.line(format_args!("{name}_bucket{{le=\"{}\"}} {total}", text(*bound)));
        }
        self.line(format_args!("{name}_sum {}", text(sum)));
        self.line(format_args!("{name}_count {total}"));
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        Family { out: &mut self.0, name }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a string takes everything");
    }
}

impl Family<'_> {
    /// A whole number.
    pub(super) fn number(&mut self, labels: &[(&str, &str)], value: u64) {
        self.sample(labels, &value.to_string());
    }

    /// A number.
    pub(super) fn float(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample(labels, &text(value));
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, value: bool) {
        self.number(&[], u64::from(value));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: &str) {
        self.out.push_str(self.name);
        for (i, (name, label)) in labels.iter().enumerate() {
            let before = if i == 0 { '{' } else { ',' };
            let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.out, "{before}{name}=\"{label}\"").expect("a string takes everything");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        writeln!(self.out, "{end} {value}").expect("a string takes everything");
    }
}

fn text(value: f64) -> String {
    if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_as_prometheus_reads_it() {
        let mut out = Exposition::default();
        let mut family = out.counter("requests_total", "Requests");
        family.number(&[("route", "/a/{id}"), ("method", "GET")], 3);
        family.number(&[("route", "a\"b\\c\nd")], 1);
        out.gauge("left_seconds", "Left").float(&[], f64::INFINITY);
        out.histogram("took_seconds", "Took", &[0.5, 1.0], &[1, 0, 2], 7.25);
        assert_eq!(
            out.finish(),
            "# HELP requests_total Requests\n# TYPE requests_total counter\n\
             requests_total{route=\"/a/{id}\",method=\"GET\"} 3\nrequests_total{route=\"a\\\"b\\\\c\\nd\"} 1\n\
             # HELP left_seconds Left\n# TYPE left_seconds gauge\nleft_seconds +Inf\n\
             # HELP took_seconds Took\n# TYPE took_seconds histogram\n\
             took_seconds_bucket{le=\"0.5\"} 1\ntook_seconds_bucket{le=\"1\"} 1\ntook_seconds_bucket{le=\"+Inf\"} 3\n\
             took_seconds_sum 7.25\ntook_seconds_count 3\n"
        );
    }
}
