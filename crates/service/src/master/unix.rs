//! The master on Unix: a supervisor that speaks sd_notify, if there is one, and signals.

use std::io;
use std::time::Duration;

use actix::Recipient;
use actix_rt::task::JoinHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::control::Control;
use crate::error::ServiceError;
use crate::machine::Status;
use crate::notification::{notification, status_line, watchdog};
use crate::stage::Stage;
use crate::supervisor::Socket;

/// Who is told of the service, and by what it is told.
#[derive(Debug)]
pub(crate) struct Master {
    socket: Option<Socket>,
    watchdog: Option<Duration>,
    told: Option<Status>,
    text: String,
    listening: Vec<JoinHandle<()>>,
}

/// Handlers that are installed: from now on none of these signals has its default effect.
pub(crate) struct SignalListener(Vec<(Control, Signal)>);

impl Master {
    pub(crate) fn find() -> Result<Master, ServiceError> {
        let variable =
            |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let limit = watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        let limit = limit.map_err(|value| ServiceError::Environment {
            variable: "WATCHDOG_USEC",
            value,
            why: "it is no time".to_owned(),
        })?;
        Ok(Master {
            socket: Socket::of_the_environment()?,
            watchdog: limit,
            told: None,
            text: String::new(),
            listening: Vec::new(),
        })
    }

    pub(crate) fn ears(&self) -> Result<SignalListener, ServiceError> {
        let meanings = [
            (SignalKind::terminate(), Control::Stop),
            (SignalKind::interrupt(), Control::Stop),
            (SignalKind::hangup(), Control::ParamChange),
            (SignalKind::from_raw(daemon_sys::Signal::Tstp.number()), Control::Pause),
            (SignalKind::from_raw(daemon_sys::Signal::Cont.number()), Control::Continue),
        ];
        let ears = meanings.into_iter().map(|(kind, control)| Ok((control, signal(kind)?)));
        let ears = ears.collect::<io::Result<_>>();
        ears.map(SignalListener)
            .map_err(|source| ServiceError::System { act: "listen to signals", source })
    }

    pub(crate) fn listen(
        &mut self,
        SignalListener(ears): SignalListener,
        service: Recipient<Control>,
    ) {
        for (control, mut stream) in ears {
            let service = service.clone();
            self.listening.push(actix_rt::spawn(async move {
                while stream.recv().await.is_some() && service.connected() {
                    service.do_send(control);
                }
            }));
        }
    }

    pub(crate) fn stop_listening(&mut self) {
        for task in self.listening.drain(..) {
            task.abort();
        }
    }

    pub(crate) fn report(&mut self, status: &Status) -> io::Result<()> {
        let now = daemon_sys::clock::monotonic();
        let told = notification(self.told.as_ref(), status, &self.text, now);
        self.told = Some(*status);
        self.socket.as_ref().map_or(Ok(()), |socket| socket.tell(&told))
    }

    pub(crate) fn text(&mut self, stage: Stage, text: String) -> io::Result<()> {
        if self.text == text {
            return Ok(());
        }
        self.text = text;
        let told = status_line(stage, &self.text);
        self.socket.as_ref().map_or(Ok(()), |socket| socket.tell(&told))
    }

    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog)
    }

    pub(crate) fn alive(&mut self) -> io::Result<()> {
        self.socket.as_ref().map_or(Ok(()), |socket| socket.tell("WATCHDOG=1\n"))
    }

    /// The service is over: nobody listens any more.
    pub(crate) fn close(&mut self) {
        self.stop_listening();
    }

    pub(crate) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }
}
