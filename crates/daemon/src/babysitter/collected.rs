//! Evidence on its way to the slow log.

use daemon_sys::trace::symbolise;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::TIMEOUT;
use super::evidence_collector::Answer;
use crate::evidence::{Evidence, Frame, Trace};

/// Evidence, of which some names may still be looked up: that is done in the program's debug
/// information and takes its time, for which no step is to wait.
#[derive(Debug)]
pub(super) struct CollectedEvidence {
    pub(super) evidence: Evidence,
    naming: Option<JoinHandle<Vec<Frame>>>,
}

impl CollectedEvidence {
    pub(super) async fn of(evidence: Evidence, answer: Answer) -> CollectedEvidence {
        let (backtrace, naming) = match answer {
            Answer::NotAsked => (Trace::NotAsked, None),
            Answer::None => (Trace::NoAnswer, None),
            Answer::At(addresses) => {
                let nameless = addresses.iter().copied().map(Frame::at).collect();
                let mut naming = spawn_blocking(move || {
                    symbolise(&addresses).into_iter().map(Frame::from).collect::<Vec<_>>()
                });
                match timeout(TIMEOUT, &mut naming).await {
                    Ok(Ok(frames)) => (Trace::Frames(frames), None),
                    Ok(Err(_panicked)) => (Trace::Frames(nameless), None),
                    Err(_not_yet) => (Trace::Frames(nameless), Some(naming)),
                }
            }
        };
        CollectedEvidence { evidence: Evidence { backtrace, ..evidence }, naming }
    }

    /// Waits for the names.
    pub(super) async fn named(self) -> Evidence {
        let CollectedEvidence { evidence, naming } = self;
        let Some(naming) = naming else {
            return evidence;
        };
        match naming.await {
            Ok(frames) => Evidence { backtrace: Trace::Frames(frames), ..evidence },
            Err(_panicked) => evidence,
        }
    }
}
