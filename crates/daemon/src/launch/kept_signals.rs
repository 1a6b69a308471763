//! The signals that arrive before the daemon can handle them.

use daemon_core::Signal;
use daemon_sys::inherited;
use daemon_sys::signals::{SignalBlockGuard, discard_pending};

/// The signals that the parent handles, blocked from the beginning of the launch until it has
/// handlers. So a signal that is sent as soon as the pid is known is handled then, and none has its
/// default action, which would end or stop the process.
///
/// If the launch fails, this value is dropped: the signals that have arrived are discarded, and the
/// signals have their default actions again.
#[derive(Debug)]
pub(crate) struct KeptSignals(Option<SignalBlockGuard>);

impl KeptSignals {
    /// Resets what the launcher has handed down, and blocks the signals.
    ///
    /// # Errors
    ///
    /// The errors of [`inherited::reset`].
    pub(crate) fn new() -> Result<Self, daemon_sys::Error> {
        inherited::reset(&Signal::PARENT_SIGNALS).map(Some).map(KeptSignals)
    }

    /// Unblocks the signals, which delivers those that have arrived. Call this when the handlers
    /// are installed.
    pub(crate) fn deliver(mut self) {
        drop(self.0.take());
    }
}

impl Drop for KeptSignals {
    fn drop(&mut self) {
        if let Some(blocked) = self.0.take() {
            discard_pending(&Signal::PARENT_SIGNALS);
            drop(blocked);
        }
    }
}
