//! Rates computed from two snapshots: requests per second, and processor time in percent.

use std::collections::{BTreeMap, VecDeque};

use daemon_core::MonotonicTime;

use crate::snapshot::{ChildKey, Snapshot};

/// The maximum number of rates in the history: ten minutes if a snapshot arrives every second.
const HISTORY: usize = 600;

/// The rates between consecutive snapshots.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    last: Option<Sample>,
    cpu: BTreeMap<ChildKey, f64>,
    per_second: VecDeque<f64>,
}

#[derive(Debug)]
struct Sample {
    at: MonotonicTime,
    snapshot: Snapshot,
}

impl Rates {
    /// Computes the rates between the previous snapshot and this one.
    pub(crate) fn add_snapshot(&mut self, snapshot: &Snapshot, now: MonotonicTime) {
        let sample = Sample { at: now, snapshot: snapshot.clone() };
        let Some(last) = self.last.replace(sample) else { return };
        let seconds = now.saturating_since(last.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        self.cpu = percentages(&last.snapshot, snapshot, seconds);
        if let Some(started) = requests_started(&last.snapshot, snapshot) {
            if self.per_second.len() == HISTORY {
                self.per_second.pop_front();
            }
            self.per_second.push_back(started as f64 / seconds);
        }
    }

    /// Returns the latest rate of requests per second; `None` if no snapshots have been compared
    /// yet.
    pub(crate) fn per_second(&self) -> Option<f64> {
        self.per_second.back().copied()
    }

    /// Returns at most `count` of the latest rates of requests per second, the oldest first.
    pub(crate) fn history(&self, count: usize) -> impl Iterator<Item = f64> {
        let skipped = self.per_second.len().saturating_sub(count);
        self.per_second.iter().skip(skipped).copied()
    }

    /// Returns the processor time of a child between the last two snapshots, in percent of one
    /// processor.
    pub(crate) fn cpu(&self, key: ChildKey) -> Option<f64> {
        self.cpu.get(&key).copied()
    }
}

fn percentages(last: &Snapshot, snapshot: &Snapshot, seconds: f64) -> BTreeMap<ChildKey, f64> {
    let before: BTreeMap<ChildKey, _> =
        last.children.iter().map(|child| (child.key(), child.cpu)).collect();
    let percentage = |child: &crate::snapshot::Child| {
        let used = child.cpu?.saturating_sub((*before.get(&child.key())?)?);
        Some((child.key(), used.as_secs_f64() / seconds * 100.0))
    };
    snapshot.children.iter().filter_map(percentage).collect()
}

/// Returns the number of requests that were started between two snapshots. The daemon's counters
/// include former children, so the difference of the counters is exact. A scoreboard contains only
/// the requests of the present children, so those of children that have exited are missing.
///
/// Returns `None` if the snapshots cannot be compared, because they are of two daemons or of
/// different sources.
fn requests_started(last: &Snapshot, snapshot: &Snapshot) -> Option<u64> {
    if last.parent != snapshot.parent || snapshot.up < last.up {
        return None;
    }
    match (&last.counters, &snapshot.counters) {
        (Some(_), Some(_)) => Some(snapshot.requests().saturating_sub(last.requests())),
        (None, None) => {
            let before: BTreeMap<ChildKey, u64> =
                last.children.iter().map(|child| (child.key(), child.requests)).collect();
            let started = snapshot.children.iter().map(|child| {
                child.requests.saturating_sub(before.get(&child.key()).copied().unwrap_or(0))
            });
            Some(started.fold(0, u64::saturating_add))
        }
        (Some(_), None) | (None, Some(_)) => None,
    }
}

/// Returns a rate in at most six characters: `0.4`, `12`, `1234`, `123k`.
pub(crate) fn format_rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 99_999.5 => format!("{:.0}k", rate / 1000.0),
        rate if rate >= 9.95 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_below_10_have_one_decimal_and_large_rates_are_in_thousands() {
        let rates = [0.0, 0.04, 9.94, 9.96, 1234.4, 99_999.4, 123_456.0].map(format_rate);
        assert_eq!(rates, ["0.0", "0.0", "9.9", "10", "1234", "99999", "123k"]);
    }
}
