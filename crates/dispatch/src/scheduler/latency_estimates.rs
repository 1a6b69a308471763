//! How fast methods are, as answers tell.

use std::time::Duration;

/// How long methods take, by their numbers.
#[derive(Debug)]
pub(super) struct LatencyEstimates(Vec<Option<Duration>>);

impl LatencyEstimates {
    pub(super) fn new(methods: usize) -> LatencyEstimates {
        LatencyEstimates(vec![None; methods])
    }

    /// What is to be expected of a method; none if it was never seen.
    pub(super) fn of(&self, method: u16) -> Option<Duration> {
        self.0.get(usize::from(method)).copied().flatten()
    }

    /// A call took so long. A slow one counts at once, fast ones little by little.
    pub(super) fn record(&mut self, method: u16, took: Duration) {
        let Some(estimate) = self.0.get_mut(usize::from(method)) else { return };
        *estimate = Some(match *estimate {
            Some(before) if took < before => before - (before - took) / 8,
            Some(_) | None => took,
        });
    }
}
