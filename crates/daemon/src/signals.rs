//! Sends a message to the daemon's actor for each signal that the parent receives. The signal
//! handlers are those of tokio, so other listeners in the program still receive the signals too.

use std::io;

use actix::{Message, Recipient};
use daemon_core::Signal;
use daemon_sys::process::number_of;
use tokio::signal::unix::{SignalKind, signal};

/// Sent to the actor when the parent has received a signal.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub(crate) struct SignalReceived(pub(crate) Signal);

/// Installed signal handlers. From the installation on, none of these signals has its default
/// effect.
pub(crate) struct SignalListener(Vec<(Signal, tokio::signal::unix::Signal)>);

impl SignalListener {
    pub(crate) fn open(signals: &[Signal]) -> io::Result<Self> {
        signals
            .iter()
            .map(|known| Ok((*known, signal(SignalKind::from_raw(number_of(*known)))?)))
            .collect::<io::Result<_>>()
            .map(SignalListener)
    }

    /// Sends a message for each received signal, until the recipient stops.
    pub(crate) fn forward(self, recipient: &Recipient<SignalReceived>) {
        for (known, mut stream) in self.0 {
            let recipient = recipient.clone();
            actix_rt::spawn(async move {
                while stream.recv().await.is_some() && recipient.connected() {
                    recipient.do_send(SignalReceived(known));
                }
            });
        }
    }
}
