//! Sends a message to the daemon's actor for each signal that the parent receives. The signal
//! handlers are those of tokio, so other listeners in the program still receive the signals too.

use std::io;

use actix::{Message, Recipient};
use daemon_core::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// Installed signal handlers. From the installation on, none of these signals has its default
/// effect.
pub(crate) struct SignalListener(Vec<(Signal, tokio::signal::unix::Signal)>);

impl SignalListener {
    pub(crate) fn open(signals: &[Signal]) -> io::Result<Self> {
        signals
            .iter()
            .map(|known| Ok((*known, signal(kind(*known))?)))
            .collect::<io::Result<_>>()
            .map(SignalListener)
    }

    /// Sends a message for each received signal, until the recipient stops.
    pub(crate) fn forward<M>(self, recipient: Recipient<M>, message: fn(Signal) -> M)
    where
        M: Message<Result = ()> + Send + 'static,
    {
        for (known, mut stream) in self.0 {
            let recipient = recipient.clone();
            actix_rt::spawn(async move {
                while stream.recv().await.is_some() && recipient.connected() {
                    recipient.do_send(message(known));
                }
            });
        }
    }
}

fn kind(signal: Signal) -> SignalKind {
    match signal {
        Signal::Term => SignalKind::terminate(),
        Signal::Int => SignalKind::interrupt(),
        Signal::Quit => SignalKind::quit(),
        Signal::Hup => SignalKind::hangup(),
        Signal::Usr2 => SignalKind::user_defined2(),
        Signal::Cont => SignalKind::from_raw(daemon_sys::Signal::Cont.number()),
        Signal::Tstp => SignalKind::from_raw(daemon_sys::Signal::Tstp.number()),
        Signal::Ttin => SignalKind::from_raw(daemon_sys::Signal::Ttin.number()),
        Signal::Ttou => SignalKind::from_raw(daemon_sys::Signal::Ttou.number()),
    }
}
