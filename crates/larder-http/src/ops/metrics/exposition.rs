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

/// What a histogram has seen.
#[derive(Debug)]
pub(super) struct Observed<'a> {
    /// Upper bounds.
    pub(super) bounds: &'a [f64],
    /// One more than there are bounds, for all that is larger.
    pub(super) counts: &'a [u64],
    /// All together.
    pub(super) sum: f64,
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

    /// Observations by size.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "histogram")
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

    /// Observations of a histogram.
    pub(super) fn observed(&mut self, labels: &[(&str, &str)], seen: &Observed<'_>) {
        let mut total = 0;
        for (bound, count) in seen.bounds.iter().chain([&f64::INFINITY]).zip(seen.counts) {
            total += count;
            self.line("_bucket", labels, Some(&text(*bound)), &total.to_string());
        }
        self.line("_sum", labels, None, &text(seen.sum));
        self.line("_count", labels, None, &total.to_string());
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: &str) {
        self.line("", labels, None, value);
    }

    fn line(&mut self, end_of_name: &str, labels: &[(&str, &str)], bound: Option<&str>, value: &str) {
        self.out.push_str(self.name);
        self.out.push_str(end_of_name);
        let bound = bound.map(|bound| ("le", bound));
        for (i, (name, label)) in labels.iter().copied().chain(bound).enumerate() {
            let before = if i == 0 { '{' } else { ',' };
            let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.out, "{before}{name}=\"{label}\"").expect("a string takes everything");
        }
        let end = if labels.is_empty() && bound.is_none() { "" } else { "}" };
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
        let seen = Observed { bounds: &[0.5, 1.0], counts: &[1, 0, 2], sum: 7.25 };
        let mut took = out.histogram("took_seconds", "Took");
        took.observed(&[], &seen);
        took.observed(&[("route", "/a")], &Observed { bounds: &[0.5], counts: &[1, 1], sum: 2.0 });
        assert_eq!(
            out.finish(),
            "# HELP requests_total Requests\n# TYPE requests_total counter\n\
             requests_total{route=\"/a/{id}\",method=\"GET\"} 3\nrequests_total{route=\"a\\\"b\\\\c\\nd\"} 1\n\
             # HELP left_seconds Left\n# TYPE left_seconds gauge\nleft_seconds +Inf\n\
             # HELP took_seconds Took\n# TYPE took_seconds histogram\n\
             took_seconds_bucket{le=\"0.5\"} 1\ntook_seconds_bucket{le=\"1\"} 1\ntook_seconds_bucket{le=\"+Inf\"} 3\n\
             took_seconds_sum 7.25\ntook_seconds_count 3\n\
             took_seconds_bucket{route=\"/a\",le=\"0.5\"} 1\ntook_seconds_bucket{route=\"/a\",le=\"+Inf\"} 2\n\
             took_seconds_sum{route=\"/a\"} 2\ntook_seconds_count{route=\"/a\"} 2\n"
        );
    }
}
