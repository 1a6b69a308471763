//! Collected evidence, and the wait for the function names in its backtrace.

use std::time::Duration;

use futures::channel::oneshot;
use tokio::time::timeout;

use super::evidence_collector::Answer;
use super::symbols::SymbolResolver;
use daemon_protocol::{Evidence, Frame, Trace};

/// Evidence whose frames may still lack function names, because their lookup is slow.
#[derive(Debug)]
pub(super) struct CollectedEvidence {
    pub(super) evidence: Evidence,
    symbols: Option<oneshot::Receiver<Vec<Frame>>>,
}

impl CollectedEvidence {
    /// Adds the child's answer to the evidence, and starts the lookup of the function names.
    pub(super) fn of(mut evidence: Evidence, answer: Answer, resolver: &SymbolResolver) -> Self {
        let (backtrace, symbols) = match answer {
            Answer::NotRequested => (Trace::NotAsked, None),
            Answer::None => (Trace::NoAnswer, None),
            Answer::At(addresses) => {
                let unnamed = addresses.iter().map(|address| Frame::at(*address as u64)).collect();
                (Trace::Frames(unnamed), Some(resolver.look_up(addresses)))
            }
        };
        evidence.backtrace = backtrace;
        CollectedEvidence { evidence, symbols }
    }

    /// Waits for the function names, but not longer than `limit`. Until they are known, the
    /// evidence has addresses instead.
    pub(super) async fn wait_for_symbols(&mut self, limit: Duration) {
        let Some(symbols) = &mut self.symbols else { return };
        if let Ok(ended) = timeout(limit, symbols).await {
            self.symbols = None;
            if let Ok(frames) = ended {
                self.evidence.backtrace = Trace::Frames(frames);
            }
        }
    }
}
