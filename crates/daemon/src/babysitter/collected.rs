//! Collected evidence, and the lookup of the function names in its backtrace.

use daemon_sys::trace::symbolise;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::TIMEOUT;
use super::evidence_collector::Answer;
use crate::evidence::{Evidence, Frame, Trace};

/// Evidence whose frames may still lack function names. The names are looked up in the program's
/// debug information, which is slow, so steps against a rogue wait for the names no longer than
/// [`TIMEOUT`].
#[derive(Debug)]
pub(super) struct CollectedEvidence {
    pub(super) evidence: Evidence,
    symbols: Option<JoinHandle<Vec<Frame>>>,
}

impl CollectedEvidence {
    pub(super) async fn of(evidence: Evidence, answer: Answer) -> CollectedEvidence {
        let (backtrace, symbols) = match answer {
            Answer::NotRequested => (Trace::NotAsked, None),
            Answer::None => (Trace::NoAnswer, None),
            Answer::At(addresses) => {
                let unnamed = addresses.iter().copied().map(Frame::at).collect();
                let mut symbols = spawn_blocking(move || {
                    symbolise(&addresses).into_iter().map(Frame::from).collect::<Vec<_>>()
                });
                match timeout(TIMEOUT, &mut symbols).await {
                    Ok(Ok(frames)) => (Trace::Frames(frames), None),
                    Ok(Err(_panicked)) => (Trace::Frames(unnamed), None),
                    Err(_not_yet) => (Trace::Frames(unnamed), Some(symbols)),
                }
            }
        };
        CollectedEvidence { evidence: Evidence { backtrace, ..evidence }, symbols }
    }

    /// Waits for the function names and returns the complete evidence.
    pub(super) async fn with_symbols(self) -> Evidence {
        let CollectedEvidence { evidence, symbols } = self;
        let Some(symbols) = symbols else {
            return evidence;
        };
        match symbols.await {
            Ok(frames) => Evidence { backtrace: Trace::Frames(frames), ..evidence },
            Err(_panicked) => evidence,
        }
    }
}
