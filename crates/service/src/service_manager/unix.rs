//! The service manager on Unix: systemd, or another service manager that understands sd_notify(3).
//! Controls arrive as signals.

use daemon_sys::process::{self, number_of};
use std::io;
use std::time::Duration;

use actix::Recipient;
use actix_rt::task::JoinHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::control::Control;
use crate::error::ServiceError;
use crate::notification::{notification, status_line, watchdog_timeout};
use crate::state::ServiceState;
use crate::state_machine::ServiceStatus;
use crate::systemd::NotifySocket;

/// The connection to the service manager, and the signal listeners.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: Option<NotifySocket>,
    watchdog_timeout: Option<Duration>,
    reported: Option<ServiceStatus>,
    text: String,
    listeners: Vec<JoinHandle<()>>,
}

/// The installed signal handlers. They replace the default actions of these signals.
pub(crate) struct ControlSignals(Vec<(Control, Signal)>);

impl ServiceManager {
    pub(crate) fn from_env() -> Result<ServiceManager, ServiceError> {
        let variable =
            |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let timeout = watchdog_timeout(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        )?;
        Ok(ServiceManager {
            socket: NotifySocket::from_env()?,
            watchdog_timeout: timeout,
            reported: None,
            text: String::new(),
            listeners: Vec::new(),
        })
    }

    pub(crate) fn open_signals(&self) -> Result<ControlSignals, ServiceError> {
        let controls = [
            (SignalKind::terminate(), Control::Stop),
            (SignalKind::interrupt(), Control::Stop),
            (SignalKind::hangup(), Control::ParamChange),
            (SignalKind::from_raw(number_of(process::Signal::Tstp)), Control::Pause),
            (SignalKind::from_raw(number_of(process::Signal::Cont)), Control::Continue),
        ];
        let signals = controls.into_iter().map(|(kind, control)| Ok((control, signal(kind)?)));
        let signals = signals.collect::<io::Result<_>>();
        signals
            .map(ControlSignals)
            .map_err(|source| ServiceError::System { action: "listen to signals", source })
    }

    pub(crate) fn listen(
        &mut self,
        ControlSignals(signals): ControlSignals,
        service: Recipient<Control>,
    ) {
        for (control, mut stream) in signals {
            let service = service.clone();
            self.listeners.push(actix_rt::spawn(async move {
                while stream.recv().await.is_some() && service.connected() {
                    service.do_send(control);
                }
            }));
        }
    }

    pub(crate) fn stop_listening(&mut self) {
        for task in self.listeners.drain(..) {
            task.abort();
        }
    }

    pub(crate) fn report(&mut self, status: &ServiceStatus) -> io::Result<()> {
        let now = daemon_sys::clock::monotonic();
        let lines = notification(self.reported.as_ref(), status, &self.text, now);
        self.reported = Some(*status);
        self.socket.as_ref().map_or(Ok(()), |socket| socket.send(&lines))
    }

    pub(crate) fn set_text(&mut self, state: ServiceState, text: String) -> io::Result<()> {
        if self.text == text {
            return Ok(());
        }
        self.text = text;
        let line = status_line(state, &self.text);
        self.socket.as_ref().map_or(Ok(()), |socket| socket.send(&line))
    }

    pub(crate) fn watchdog_timeout(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog_timeout)
    }

    pub(crate) fn notify_watchdog(&mut self) -> io::Result<()> {
        self.socket.as_ref().map_or(Ok(()), |socket| socket.send("WATCHDOG=1\n"))
    }

    /// Ends the signal listeners, because the service has stopped.
    pub(crate) fn close(&mut self) {
        self.stop_listening();
    }

    pub(crate) fn socket(&self) -> Option<&NotifySocket> {
        self.socket.as_ref()
    }
}
