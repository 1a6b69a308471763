//! The connection to the service manager: it receives the state of the service and sends controls.

pub(crate) use platform::*;

/// systemd, or another service manager that understands sd_notify(3). Controls arrive as signals.
#[cfg(unix)]
mod platform {
    use std::io;
    use std::time::Duration;

    use actix::Recipient;
    use actix_rt::task::JoinHandle;
    use daemon_sys::process::{self, number_of};
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use crate::error::ServiceError;
    use crate::outbox::Outbox;
    use crate::state::{Control, ServiceState};
    use crate::state_machine::ServiceStatus;
    use crate::systemd::{NotifySocket, notification, status_line, watchdog_from_env};

    /// The connection to the service manager, and the signal listeners.
    #[derive(Debug)]
    pub(crate) struct ServiceManager {
        socket: Option<NotifySocket>,
        outbox: Outbox,
        watchdog_timeout: Option<Duration>,
        reported: Option<ServiceStatus>,
        text: String,
        listeners: Vec<JoinHandle<()>>,
    }

    /// The installed signal handlers. They replace the default actions of these signals.
    pub(crate) struct ControlSignals(Vec<(Control, Signal)>);

    impl ServiceManager {
        pub(crate) fn from_env() -> Result<ServiceManager, ServiceError> {
            Ok(ServiceManager {
                watchdog_timeout: watchdog_from_env()?,
                socket: NotifySocket::from_env()?,
                outbox: Outbox::default(),
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
            self.send(|outbox| outbox.push(lines))
        }

        pub(crate) fn set_text(&mut self, state: ServiceState, text: String) -> io::Result<()> {
            if self.text == text {
                return Ok(());
            }
            self.text = text;
            let line = status_line(state, &self.text);
            self.send(|outbox| outbox.push(line))
        }

        pub(crate) fn watchdog_timeout(&self) -> Option<Duration> {
            self.socket.as_ref().and(self.watchdog_timeout)
        }

        pub(crate) fn notify_watchdog(&mut self) -> io::Result<()> {
            self.send(Outbox::push_watchdog)
        }

        /// Does not notify the watchdog later, if a notification waits, because the service is not
        /// healthy any more.
        pub(crate) fn withdraw_watchdog(&mut self) {
            self.outbox.withdraw_watchdog();
        }

        /// Ends the signal listeners, because the service has stopped.
        pub(crate) fn close(&mut self) {
            self.stop_listening();
        }

        /// Adds a notification to those that wait, and sends all of them if possible. Returns the
        /// error if this is the first one that has to wait.
        fn send(&mut self, push: impl FnOnce(&mut Outbox)) -> io::Result<()> {
            if self.socket.is_none() {
                return Ok(());
            }
            let has_waiting = self.retry_in().is_some();
            push(&mut self.outbox);
            match self.retry() {
                Err(_another) if has_waiting => Ok(()),
                done => done,
            }
        }

        /// Returns when to call [`retry`](ServiceManager::retry); `None` if nothing waits.
        pub(crate) fn retry_in(&self) -> Option<Duration> {
            self.outbox.retry_in()
        }

        /// Sends the notifications that the service manager could not receive before.
        pub(crate) fn retry(&mut self) -> io::Result<()> {
            let ServiceManager { socket, outbox, .. } = self;
            let Some(socket) = socket else { return Ok(()) };
            outbox.send(|lines| socket.send(lines, &[]))
        }

        pub(crate) fn socket(&self) -> Option<&NotifySocket> {
            self.socket.as_ref()
        }
    }
}

/// The service control manager of Windows (SCM). A service that runs in a console has no SCM, and
/// handles console events instead.
#[cfg(windows)]
mod platform {
    use std::io;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use actix::Recipient;
    use actix_rt::task::JoinHandle;
    use tokio::signal::windows;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use windows_service::service::{
        ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState as ScmState,
        ServiceStatus as ScmStatus, ServiceType,
    };
    use windows_service::service_control_handler::{
        self, ServiceControlHandlerResult, ServiceStatusHandle,
    };

    use crate::error::ServiceError;
    use crate::state::{Control, ServiceState, UserControl};
    use crate::state_machine::ServiceStatus;

    /// The channel for the SCM's controls. It is static because the handler must not capture
    /// anything: windows-service frees the handler after the first STOP, but the SCM may send more
    /// controls.
    static CONTROLS: OnceLock<UnboundedSender<Control>> = OnceLock::new();

    /// The connection to the SCM that started this process. [`ServiceManager::from_env`] takes it.
    static CONNECTION: Mutex<Option<ScmConnection>> = Mutex::new(None);

    /// A connection to the SCM.
    #[derive(Debug)]
    struct ScmConnection {
        handle: ServiceStatusHandle,
        controls: UnboundedReceiver<Control>,
    }

    /// Reports to the SCM, after the actix System has ended, that the service has stopped.
    #[derive(Debug)]
    pub(crate) struct StoppedReporter(ServiceStatusHandle);

    impl StoppedReporter {
        pub(crate) fn report(self, exit_code: u32) -> windows_service::Result<()> {
            let exit_code = match exit_code {
                0 => ServiceExitCode::NO_ERROR,
                code => ServiceExitCode::ServiceSpecific(code),
            };
            let status = status(ScmState::Stopped, ServiceControlAccept::empty());
            self.0.set_service_status(ScmStatus { exit_code, ..status })
        }
    }

    /// Connects to the SCM that started this process.
    pub(crate) fn connect(name: &str) -> windows_service::Result<StoppedReporter> {
        let (sender, controls) = unbounded_channel();
        let _first = CONTROLS.set(sender);
        let handle = service_control_handler::register(name, handle_control)?;
        let starting = status(ScmState::StartPending, ServiceControlAccept::empty());
        let wait_hint = Duration::from_secs(30);
        handle.set_service_status(ScmStatus { checkpoint: 1, wait_hint, ..starting })?;
        let connection = ScmConnection { handle, controls };
        *CONNECTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(StoppedReporter(handle))
    }

    fn handle_control(control: ServiceControl) -> ServiceControlHandlerResult {
        let control = match control {
            ServiceControl::Stop => Control::Stop,
            ServiceControl::Pause => Control::Pause,
            ServiceControl::Continue => Control::Continue,
            ServiceControl::Interrogate => Control::Interrogate,
            ServiceControl::Shutdown => Control::Shutdown,
            ServiceControl::Preshutdown => Control::Preshutdown,
            ServiceControl::ParamChange => Control::ParamChange,
            ServiceControl::UserEvent(event) => {
                match u8::try_from(event.to_raw()).ok().and_then(|code| UserControl::new(code).ok())
                {
                    Some(user) => Control::User(user),
                    None => return ServiceControlHandlerResult::NotImplemented,
                }
            }
            // Controls that this service does not accept, and controls of later versions of
            // Windows.
            _other => return ServiceControlHandlerResult::NotImplemented,
        };
        match CONTROLS.get().map(|controls| controls.send(control)) {
            Some(Ok(())) => ServiceControlHandlerResult::NoError,
            // The service has stopped, so nothing receives controls any more.
            Some(Err(_)) | None => ServiceControlHandlerResult::NotImplemented,
        }
    }

    fn status(current_state: ScmState, controls_accepted: ServiceControlAccept) -> ScmStatus {
        ScmStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state,
            controls_accepted,
            exit_code: ServiceExitCode::NO_ERROR,
            checkpoint: 0,
            wait_hint: Duration::ZERO,
            process_id: None,
        }
    }

    /// Returns the SCM's value for a state, and the controls that the service accepts in this
    /// state. Returns `None` for `Stopped`, which [`StoppedReporter`] reports after the actix
    /// System has ended.
    fn scm_state(state: ServiceState) -> Option<(ScmState, ServiceControlAccept)> {
        let end = ServiceControlAccept::STOP
            | ServiceControlAccept::SHUTDOWN
            | ServiceControlAccept::PRESHUTDOWN;
        let all = end | ServiceControlAccept::PAUSE_CONTINUE | ServiceControlAccept::PARAM_CHANGE;
        match state {
            ServiceState::NotReady | ServiceState::StartPending => {
                Some((ScmState::StartPending, ServiceControlAccept::empty()))
            }
            ServiceState::Running => Some((ScmState::Running, all)),
            ServiceState::PausePending => Some((ScmState::PausePending, end)),
            ServiceState::Paused => Some((ScmState::Paused, all)),
            ServiceState::ContinuePending => Some((ScmState::ContinuePending, end)),
            ServiceState::StopPending => {
                Some((ScmState::StopPending, ServiceControlAccept::empty()))
            }
            ServiceState::Stopped => None,
        }
    }

    /// The connection to the service manager, and the listeners for controls.
    #[derive(Debug)]
    pub(crate) struct ServiceManager {
        handle: Option<ServiceStatusHandle>,
        controls: Option<UnboundedReceiver<Control>>,
        listeners: Vec<JoinHandle<()>>,
    }

    /// The console's event handlers; `None` under the SCM.
    pub(crate) struct ControlSignals(Option<ConsoleEvents>);

    struct ConsoleEvents {
        c: windows::CtrlC,
        r#break: windows::CtrlBreak,
        close: windows::CtrlClose,
        shutdown: windows::CtrlShutdown,
    }

    impl ConsoleEvents {
        fn open() -> io::Result<ConsoleEvents> {
            Ok(ConsoleEvents {
                c: windows::ctrl_c()?,
                r#break: windows::ctrl_break()?,
                close: windows::ctrl_close()?,
                shutdown: windows::ctrl_shutdown()?,
            })
        }

        async fn next(&mut self) -> Option<Control> {
            tokio::select! {
                event = self.c.recv() => event.map(|()| Control::Stop),
                event = self.r#break.recv() => event.map(|()| Control::Stop),
                event = self.close.recv() => event.map(|()| Control::Stop),
                event = self.shutdown.recv() => event.map(|()| Control::Shutdown),
            }
        }
    }

    impl ServiceManager {
        pub(crate) fn from_env() -> Result<ServiceManager, ServiceError> {
            let connection = CONNECTION.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (handle, controls) =
                connection.map(|connection| (connection.handle, connection.controls)).unzip();
            Ok(ServiceManager { handle, controls, listeners: Vec::new() })
        }

        pub(crate) fn open_signals(&self) -> Result<ControlSignals, ServiceError> {
            if self.handle.is_some() {
                return Ok(ControlSignals(None));
            }
            let console = ConsoleEvents::open();
            let console = console.map_err(|source| ServiceError::System {
                action: "listen to console events",
                source,
            })?;
            Ok(ControlSignals(Some(console)))
        }

        pub(crate) fn listen(
            &mut self,
            ControlSignals(console): ControlSignals,
            service: Recipient<Control>,
        ) {
            if let Some(mut controls) = self.controls.take() {
                let service = service.clone();
                self.listeners.push(actix_rt::spawn(async move {
                    while let Some(control) = controls.recv().await {
                        service.do_send(control);
                    }
                }));
            }
            if let Some(mut console) = console {
                self.listeners.push(actix_rt::spawn(async move {
                    while let Some(control) = console.next().await {
                        service.do_send(control);
                    }
                }));
            }
        }

        /// Called when a participant handles the signals instead of the service. Does nothing:
        /// Windows has no such signals, and the service always receives the controls of the SCM.
        pub(crate) fn stop_listening(&mut self) {}

        pub(crate) fn report(&mut self, reported: &ServiceStatus) -> io::Result<()> {
            let (Some(handle), Some((state, accepted))) = (&self.handle, scm_state(reported.state))
            else {
                return Ok(());
            };
            let status = ScmStatus {
                checkpoint: reported.checkpoint,
                wait_hint: reported.wait_hint,
                ..status(state, accepted)
            };
            handle.set_service_status(status).map_err(io::Error::other)
        }

        /// Does nothing: the SCM has no status text.
        pub(crate) fn set_text(&mut self, _state: ServiceState, _text: String) -> io::Result<()> {
            Ok(())
        }

        pub(crate) fn watchdog_timeout(&self) -> Option<Duration> {
            None
        }

        pub(crate) fn notify_watchdog(&mut self) -> io::Result<()> {
            Ok(())
        }

        /// Does nothing: the SCM has no watchdog.
        pub(crate) fn withdraw_watchdog(&mut self) {}

        /// Returns `None`: the SCM has no queue that can be full.
        pub(crate) fn retry_in(&self) -> Option<Duration> {
            None
        }

        /// Does nothing, because nothing waits.
        pub(crate) fn retry(&mut self) -> io::Result<()> {
            Ok(())
        }

        /// Ends the listeners for controls, because the service has stopped.
        pub(crate) fn close(&mut self) {
            for task in self.listeners.drain(..) {
                task.abort();
            }
        }
    }
}
