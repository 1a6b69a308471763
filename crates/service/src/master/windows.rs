//! The master on Windows: the service manager, or a console.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use actix::Recipient;
use actix_rt::task::JoinHandle;
use tokio::signal::windows;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};

use crate::control::{Control, UserControl};
use crate::error::ServiceError;
use crate::machine::Status;
use crate::stage::Stage;

/// Where the manager's controls go. The handler captures nothing: windows-service frees it after the
/// first STOP, and the manager may have more to say.
static CONTROLS: OnceLock<UnboundedSender<Control>> = OnceLock::new();

/// The manager that this process has been called by, until its service takes it.
static MANAGER: Mutex<Option<Manager>> = Mutex::new(None);

/// The service manager.
#[derive(Debug)]
struct Manager {
    handle: ServiceStatusHandle,
    controls: UnboundedReceiver<Control>,
}

/// The means to tell the manager that the service is over.
#[derive(Debug)]
pub(crate) struct Farewell(ServiceStatusHandle);

impl Farewell {
    pub(crate) fn stopped(self, exit_code: u32) -> windows_service::Result<()> {
        let exit_code = match exit_code {
            0 => ServiceExitCode::NO_ERROR,
            code => ServiceExitCode::ServiceSpecific(code),
        };
        let status = status(ServiceState::Stopped, ServiceControlAccept::empty());
        self.0.set_service_status(ServiceStatus { exit_code, ..status })
    }
}

/// Takes up with the manager that has called this process.
pub(crate) fn take_up(name: &str) -> windows_service::Result<Farewell> {
    let (sender, controls) = unbounded_channel();
    let _first = CONTROLS.set(sender);
    let handle = service_control_handler::register(name, heed)?;
    let starting = status(ServiceState::StartPending, ServiceControlAccept::empty());
    let wait_hint = Duration::from_secs(30);
    handle.set_service_status(ServiceStatus { checkpoint: 1, wait_hint, ..starting })?;
    let manager = Manager { handle, controls };
    *MANAGER.lock().unwrap_or_else(PoisonError::into_inner) = Some(manager);
    Ok(Farewell(handle))
}

fn heed(control: ServiceControl) -> ServiceControlHandlerResult {
    let meaning = match control {
        ServiceControl::Stop => Control::Stop,
        ServiceControl::Pause => Control::Pause,
        ServiceControl::Continue => Control::Continue,
        ServiceControl::Interrogate => Control::Interrogate,
        ServiceControl::Shutdown => Control::Shutdown,
        ServiceControl::Preshutdown => Control::Preshutdown,
        ServiceControl::ParamChange => Control::ParamChange,
        ServiceControl::UserEvent(event) => {
            match u8::try_from(event.to_raw()).ok().and_then(|code| UserControl::new(code).ok()) {
                Some(user) => Control::User(user),
                None => return ServiceControlHandlerResult::NotImplemented,
            }
        }
        // What was not asked for; Windows may have more of it by and by.
        _other => return ServiceControlHandlerResult::NotImplemented,
    };
    match CONTROLS.get().map(|controls| controls.send(meaning)) {
        Some(Ok(())) => ServiceControlHandlerResult::NoError,
        // The service is over: there is nobody to tell.
        Some(Err(_)) | None => ServiceControlHandlerResult::NotImplemented,
    }
}

fn status(current_state: ServiceState, controls_accepted: ServiceControlAccept) -> ServiceStatus {
    ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted,
        exit_code: ServiceExitCode::NO_ERROR,
        checkpoint: 0,
        wait_hint: Duration::ZERO,
        process_id: None,
    }
}

/// A state as the manager calls it, and the controls that it may send then. Of the end it hears when
/// the System has ended.
fn known(stage: Stage) -> Option<(ServiceState, ServiceControlAccept)> {
    let end = ServiceControlAccept::STOP
        | ServiceControlAccept::SHUTDOWN
        | ServiceControlAccept::PRESHUTDOWN;
    let all = end | ServiceControlAccept::PAUSE_CONTINUE | ServiceControlAccept::PARAM_CHANGE;
    match stage {
        Stage::NotReady | Stage::StartPending => {
            Some((ServiceState::StartPending, ServiceControlAccept::empty()))
        }
        Stage::Running => Some((ServiceState::Running, all)),
        Stage::PausePending => Some((ServiceState::PausePending, end)),
        Stage::Paused => Some((ServiceState::Paused, all)),
        Stage::ContinuePending => Some((ServiceState::ContinuePending, end)),
        Stage::StopPending => Some((ServiceState::StopPending, ServiceControlAccept::empty())),
        Stage::Stopped => None,
    }
}

/// Who is told of the service, and by what it is told.
#[derive(Debug)]
pub(crate) struct Master {
    handle: Option<ServiceStatusHandle>,
    controls: Option<UnboundedReceiver<Control>>,
    listening: Vec<JoinHandle<()>>,
}

/// What a console is listened to by.
pub(crate) struct SignalListener(Option<Console>);

struct Console {
    c: windows::CtrlC,
    r#break: windows::CtrlBreak,
    close: windows::CtrlClose,
    shutdown: windows::CtrlShutdown,
}

impl Console {
    fn open() -> io::Result<Console> {
        Ok(Console {
            c: windows::ctrl_c()?,
            r#break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    async fn next(&mut self) -> Option<Control> {
        tokio::select! {
            told = self.c.recv() => told.map(|()| Control::Stop),
            told = self.r#break.recv() => told.map(|()| Control::Stop),
            told = self.close.recv() => told.map(|()| Control::Stop),
            told = self.shutdown.recv() => told.map(|()| Control::Shutdown),
        }
    }
}

impl Master {
    pub(crate) fn find() -> Result<Master, ServiceError> {
        let manager = MANAGER.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (handle, controls) = manager.map(|manager| (manager.handle, manager.controls)).unzip();
        Ok(Master { handle, controls, listening: Vec::new() })
    }

    pub(crate) fn ears(&self) -> Result<SignalListener, ServiceError> {
        if self.handle.is_some() {
            return Ok(SignalListener(None));
        }
        let console = Console::open();
        let console = console
            .map_err(|source| ServiceError::System { act: "listen to the console", source })?;
        Ok(SignalListener(Some(console)))
    }

    pub(crate) fn listen(
        &mut self,
        SignalListener(console): SignalListener,
        service: Recipient<Control>,
    ) {
        if let Some(mut controls) = self.controls.take() {
            let service = service.clone();
            self.listening.push(actix_rt::spawn(async move {
                while let Some(control) = controls.recv().await {
                    service.do_send(control);
                }
            }));
        }
        if let Some(mut console) = console {
            self.listening.push(actix_rt::spawn(async move {
                while let Some(control) = console.next().await {
                    service.do_send(control);
                }
            }));
        }
    }

    /// There are no signals; the manager is always listened to.
    pub(crate) fn stop_listening(&mut self) {}

    pub(crate) fn report(&mut self, told: &Status) -> io::Result<()> {
        let (Some(handle), Some((state, accepted))) = (&self.handle, known(told.stage)) else {
            return Ok(());
        };
        let status = ServiceStatus {
            checkpoint: told.checkpoint,
            wait_hint: told.wait_hint,
            ..status(state, accepted)
        };
        handle.set_service_status(status).map_err(io::Error::other)
    }

    /// The manager has no room for a text.
    pub(crate) fn text(&mut self, _stage: Stage, _text: String) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn watchdog(&self) -> Option<Duration> {
        None
    }

    pub(crate) fn alive(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The service is over: nobody listens any more.
    pub(crate) fn close(&mut self) {
        for task in self.listening.drain(..) {
            task.abort();
        }
    }
}
