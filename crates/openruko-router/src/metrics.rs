//! Counts, in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::code::Code;
use crate::router::Router;

/// Upper bounds of how long requests take, in milliseconds.
const BUCKETS: [u64; 12] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];

/// The counts of the whole router; those of apps are with the apps.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
    codes: HashMap<Code, AtomicU64>,
    buckets: [AtomicU64; BUCKETS.len()],
    micros: AtomicU64,
    requests: AtomicU64,
    /// Connections of clients that are open.
    pub(crate) connections: Gauge,
    /// Those that were refused, since there were too many; streams of HTTP/2 as well.
    pub(crate) refused: AtomicU64,
    /// Heads that were refused.
    pub(crate) bad_heads: AtomicU64,
    /// Requests for no app.
    pub(crate) no_app: AtomicU64,
}

/// A count that also falls.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

/// One that is counted, until it is dropped.
pub(crate) struct Counted<'a>(&'a AtomicI64);

impl Gauge {
    /// Counts one.
    pub(crate) fn count(&self) -> Counted<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(&self.0)
    }

    /// How many there are.
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            answers: Default::default(),
            codes: Code::ALL.into_iter().map(|code| (code, AtomicU64::new(0))).collect(),
            buckets: Default::default(),
            micros: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            connections: Gauge::default(),
            refused: AtomicU64::new(0),
            bad_heads: AtomicU64::new(0),
            no_app: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Counts a request for an app.
    pub(crate) fn request(&self, status: u16, code: Option<Code>, time: Duration) {
        let add = |count: &AtomicU64, more| count.fetch_add(more, Ordering::Relaxed);
        self.answers.get(usize::from(status / 100)).map(|count| add(count, 1));
        code.and_then(|code| self.codes.get(&code)).map(|count| add(count, 1));
        let bucket = BUCKETS.iter().position(|bound| time <= Duration::from_millis(*bound));
        bucket.and_then(|at| self.buckets.get(at)).map(|count| add(count, 1));
        add(&self.micros, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        add(&self.requests, 1);
    }

    /// Everything, as text.
    pub(crate) fn text(&self, router: &Router) -> String {
        let mut text = Text::default();
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        text.about("requests_total", "counter", "Requests for apps, by the class of their status.");
        for (class, count) in self.answers.iter().enumerate().skip(1) {
            text.value("requests_total", &format!("{{status=\"{class}xx\"}}"), get(count));
        }
        text.about("errors_total", "counter", "Requests that an app did not answer, by Heroku's code.");
        for code in Code::ALL {
            let label = format!("{{code=\"{}\"}}", code.words().0);
            text.value("errors_total", &label, self.codes.get(&code).map_or(0, get));
        }
        self.durations(&mut text);
        text.about("app_requests_total", "counter", "Requests for an app, by the class of their status.");
        let table = router.table.borrow().clone();
        for app in table.apps() {
            for (class, count) in app.state.answers().filter(|(_, count)| *count > 0) {
                let label = format!("{{app=\"{}\",status=\"{class}xx\"}}", app.routed.app.name);
                text.value("app_requests_total", &label, count);
            }
        }
        text.one("unrouted_requests_total", "counter", "Requests for no app.", get(&self.no_app));
        text.one(
            "bad_requests_total",
            "counter",
            "Heads of requests that were refused.",
            get(&self.bad_heads),
        );
        text.one("connections", "gauge", "Connections of clients that are open.", self.connections.get());
        text.one(
            "connections_refused_total",
            "counter",
            "Connections, and streams of HTTP/2, beyond the bounds.",
            get(&self.refused),
        );
        text.one("waiting_requests", "gauge", "Requests that wait for a dyno.", router.waiting());
        text.one("apps", "gauge", "Apps in the table.", table.apps().len());
        text.one("table_revision", "gauge", "The revision of the table.", table.revision);
        if let Some(age) = router.heard.age() {
            text.one("table_age_seconds", "gauge", "Since the API was heard.", age.as_secs_f64());
        }
        let dropped = router.lines.dropped();
        text.one("log_lines_dropped_total", "counter", "Lines that the API did not take in time.", dropped);
        text.0
    }

    fn durations(&self, text: &mut Text) {
        text.about("request_seconds", "histogram", "How long requests took.");
        let mut sum = 0;
        for (bound, count) in BUCKETS.iter().zip(&self.buckets) {
            sum += count.load(Ordering::Relaxed);
            let (whole, rest) = (bound / 1000, bound % 1000);
            text.value("request_seconds_bucket", &format!("{{le=\"{whole}.{rest:03}\"}}"), sum);
        }
        let all = self.requests.load(Ordering::Relaxed);
        let micros = self.micros.load(Ordering::Relaxed);
        text.value("request_seconds_bucket", "{le=\"+Inf\"}", all);
        text.value(
            "request_seconds_sum",
            "",
            format_args!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        );
        text.value("request_seconds_count", "", all);
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        let _ =
            write!(self.0, "# HELP openruko_router_{name} {help}\n# TYPE openruko_router_{name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "openruko_router_{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.about(name, kind, help);
        self.value(name, "", value);
    }
}
