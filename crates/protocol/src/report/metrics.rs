//! The report in the OpenMetrics text format, for Prometheus and compatible programs.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{ProcessRole, Report};
use crate::seconds;

/// A gauge for numbers with a fractional part.
type Fraction = Gauge<f64, std::sync::atomic::AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExitLabel {
    cause: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PauseLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemoryLabel {
    kind: &'static str,
    role: &'static str,
}

impl Report {
    /// Returns the report in the text format of OpenMetrics 1.0. All names start with
    /// `actix_daemon_`. Each sample has the label `daemon` with the alias.
    ///
    /// Metrics that the reporting process does not know are left out. Only a report of the parent
    /// contains counters, and memory is included only if the process table was read.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        let labels = [("daemon".into(), escaped(&self.alias).into())];
        let mut registry = Registry::with_prefix_and_labels("actix_daemon", labels.into_iter());
        self.gauges(&mut registry);
        self.count(&mut registry);
        self.memory(&mut registry);
        let mut text = String::new();
        match text::encode(&mut text, &registry) {
            Ok(()) => text,
            // Writing to a string does not fail. If it did, this empty document would still be
            // valid.
            Err(std::fmt::Error) => "# EOF\n".to_owned(),
        }
    }

    fn gauges(&self, registry: &mut Registry) {
        let children = Family::<StatusLabel, Gauge>::default();
        // Create a gauge for every status, so that each time series is continuous.
        for status in daemon_core::Status::ALL {
            if let Some(status) = word(status.letter()) {
                drop(children.get_or_create(&StatusLabel { status }));
            }
        }
        for child in &self.children {
            let status = word(child.letter).unwrap_or("damaged");
            children.get_or_create(&StatusLabel { status }).inc();
        }
        registry.register("children", "Children, by status", children);
        let gauge = |value: u32| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::from(value));
            gauge
        };
        let waiting = "Requests that wait for a child";
        registry.register("waiting", waiting, gauge(self.waiting));
        let most = "Maximum number of children";
        registry.register("max_children", most, gauge(self.max_children));
        if self.up > std::time::Duration::ZERO {
            let up = Fraction::default();
            up.set(seconds::of(self.up));
            registry.register_with_unit("up", "Time since the start", Unit::Seconds, up);
        }
    }

    fn count(&self, registry: &mut Registry) {
        let counter = |value: u64| {
            let counter = Counter::<u64>::default();
            counter.inc_by(value);
            counter
        };
        let dropped = "Log records dropped, because the log accepted nothing";
        registry.register("log_records_dropped", dropped, counter(self.log_dropped));
        let Some(counters) = &self.counters else { return };
        registry.register("requests", "Requests started", counter(counters.requests));
        registry.register("forks", "Children forked", counter(counters.forks));
        registry.register("fork_failures", "Forks that failed", counter(counters.failed_forks));
        let pauses = Family::<PauseLabel, Counter>::default();
        for (reason, count) in
            [("operator", counters.operator_pauses), ("pool-full", counters.pool_full)]
        {
            pauses.get_or_create(&PauseLabel { reason }).inc_by(count);
        }
        registry.register("pauses", "Times that accepting was paused, by reason", pauses);
        let returned = "Requests returned to their senders";
        registry.register("requests_returned", returned, counter(counters.returned));
        let repairs = "Lines of the scoreboard that were damaged and repaired";
        registry.register("scoreboard_repairs", repairs, counter(counters.scoreboard_repairs));
        let exits = Family::<ExitLabel, Counter>::default();
        for (cause, ended) in &counters.exits {
            exits.get_or_create(&ExitLabel { cause: escaped(cause) }).inc_by(*ended);
        }
        registry.register("exits", "Children that exited, by cause", exits);
    }

    fn memory(&self, registry: &mut Registry) {
        let memory = Family::<MemoryLabel, Gauge>::default();
        let add = |role: &'static str, rss: Option<u64>, pss: Option<u64>| {
            for (kind, bytes) in [("rss", rss), ("pss", pss)] {
                if let Some(bytes) = bytes {
                    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                    let total = memory.get_or_create(&MemoryLabel { kind, role });
                    total.set(total.get().saturating_add(bytes));
                }
            }
        };
        for process in &self.processes {
            let role = match process.role {
                ProcessRole::Parent => "parent",
                ProcessRole::ForkServer => "fork-server",
            };
            add(role, process.rss, process.pss);
        }
        for child in &self.children {
            add("children", child.rss, child.pss);
        }
        let total = "Memory in use: rss is resident memory, pss is the proportional share";
        registry.register_with_unit("memory", total, Unit::Bytes, memory);
    }
}

/// Escapes the value of a label for OpenMetrics, because `prometheus_client` does not escape it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Returns the word for the status with this letter; `None` for an empty slot and a damaged slot.
fn word(letter: char) -> Option<&'static str> {
    use daemon_core::Status;

    let status = Status::from_letter(letter)?;
    (status != Status::Empty).then_some(status.word())
}
