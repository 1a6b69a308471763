//! Estimates the run times of methods from the run times that workers report with their answers.

use std::time::Duration;

/// The estimated run time of each method, by its index.
#[derive(Debug)]
pub(super) struct LatencyEstimates(Vec<Option<Duration>>);

impl LatencyEstimates {
    pub(super) fn new(methods: usize) -> LatencyEstimates {
        LatencyEstimates(vec![None; methods])
    }

    /// Returns the expected run time of a method, or `None` if no call of the method has been
    /// answered yet.
    pub(super) fn of(&self, method: u16) -> Option<Duration> {
        self.0.get(usize::from(method)).copied().flatten()
    }

    /// Records the run time of a call. A slower call raises the estimate to its run time. A faster
    /// call lowers the estimate by an eighth of the difference.
    pub(super) fn record(&mut self, method: u16, took: Duration) {
        let Some(estimate) = self.0.get_mut(usize::from(method)) else { return };
        *estimate = Some(match *estimate {
            Some(before) if took < before => before - (before - took) / 8,
            Some(_) | None => took,
        });
    }
}
