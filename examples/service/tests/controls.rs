//! States, controls and refusals.

use std::sync::mpsc::{Receiver, channel};
use std::thread::park_timeout;
use std::time::Duration;

use daemon_winsys::control::control;
use windows_service::service::{
    ServiceAccess, ServiceControlAccept, ServiceState, ServiceStatus, UserEventCode,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::harness::{Installed, is_wine, number, reached};

const INTERROGATE: u32 = 4;
const SHUTDOWN: u32 = 5;
const PARAMCHANGE: u32 = 6;
const NETBINDADD: u32 = 7;

/// Looks at the service until it has stopped, and tells each change.
fn watched(installed: &Installed) -> Receiver<ServiceStatus> {
    let (tell, told) = channel();
    let name = installed.name.clone();
    std::thread::spawn(move || {
        // A handle is its thread's own.
        let access = ServiceManagerAccess::CONNECT;
        let manager = ServiceManager::local_computer(None::<&str>, access).unwrap();
        let service = manager.open_service(name, ServiceAccess::QUERY_STATUS).unwrap();
        let mut seen: Vec<ServiceStatus> = Vec::new();
        loop {
            let status = service.query_status().unwrap();
            if seen.last().is_none_or(|last| last.current_state != status.current_state) {
                seen.push(status.clone());
                tell.send(status).unwrap();
                if seen.len() > 1 && seen.last().unwrap().current_state == ServiceState::Stopped {
                    return;
                }
            }
            park_timeout(Duration::from_millis(2));
        }
    });
    told
}

#[test]
fn every_state_is_reported_with_its_hint_and_with_what_it_accepts() {
    let installed = Installed::new(Duration::from_millis(400));
    let watched = watched(&installed);
    let mut seen = vec![watched.recv().unwrap()];
    let mut see = |state: ServiceState| loop {
        let status = watched.recv().unwrap();
        let current = status.current_state;
        seen.push(status);
        if current == state {
            return;
        }
    };
    let service = installed.open();
    service.start::<&str>(&[]).unwrap();
    see(ServiceState::Running);
    service.pause().unwrap();
    see(ServiceState::Paused);
    service.resume().unwrap();
    see(ServiceState::Running);
    service.stop().unwrap();
    see(ServiceState::Stopped);
    let states: Vec<_> = seen.iter().map(|status| status.current_state).collect();
    assert_eq!(
        states,
        [
            ServiceState::Stopped,
            ServiceState::StartPending,
            ServiceState::Running,
            ServiceState::PausePending,
            ServiceState::Paused,
            ServiceState::ContinuePending,
            ServiceState::Running,
            ServiceState::StopPending,
            ServiceState::Stopped,
        ]
    );
    let end = ServiceControlAccept::STOP
        | ServiceControlAccept::SHUTDOWN
        | ServiceControlAccept::PRESHUTDOWN;
    let all = end | ServiceControlAccept::PAUSE_CONTINUE | ServiceControlAccept::PARAM_CHANGE;
    for status in &seen[2..8] {
        let accepted = match status.current_state {
            ServiceState::Running | ServiceState::Paused => all,
            ServiceState::PausePending | ServiceState::ContinuePending => end,
            ServiceState::StartPending | ServiceState::StopPending | ServiceState::Stopped => {
                ServiceControlAccept::empty()
            }
        };
        assert_eq!(status.controls_accepted, accepted, "{status:?}");
        let is_pending = !matches!(
            status.current_state,
            ServiceState::Running | ServiceState::Paused | ServiceState::Stopped
        );
        assert_eq!(status.wait_hint > Duration::ZERO, is_pending, "{status:?}");
        assert_eq!(status.checkpoint > 0, is_pending, "{status:?}");
    }
}

#[test]
fn a_service_hears_every_control() {
    let installed = Installed::new(Duration::ZERO);
    let service = installed.started();
    control(&service, INTERROGATE).unwrap();
    installed.until_logged("told to report itself");
    control(&service, PARAMCHANGE).unwrap();
    installed.until_logged("callback Unhandled, state: running, message: ParamChange");
    for code in [128, 130, 255] {
        service.notify(UserEventCode::from_raw(code).unwrap()).unwrap();
        installed.until_logged(&format!("message: User(UserControl({code}))"));
    }
    service.pause().unwrap();
    installed.until_logged("callback PausePending, state: pausing, message: Pause");
    reached(&service, ServiceState::Paused);
    service.resume().unwrap();
    installed.until_logged("callback ContinuePending, state: continuing, message: Continue");
    reached(&service, ServiceState::Running);
    service.stop().unwrap();
    installed.until_logged("callback StopPending, state: stopping, message: Stop");
    reached(&service, ServiceState::Stopped);
}

#[test]
fn what_does_not_fit_the_state_is_refused() {
    let code = |result: std::io::Result<u32>| result.unwrap_err().raw_os_error().unwrap();
    let installed = Installed::new(Duration::from_millis(1500));
    let service = installed.open();
    assert_eq!(number(service.stop()), 1062);
    service.start::<&str>(&[]).unwrap();
    reached(&service, ServiceState::StartPending);
    assert_eq!(number(service.pause()), 1061);
    assert_eq!(number(service.start::<&str>(&[])), 1056);
    reached(&service, ServiceState::Running);
    assert_eq!(code(control(&service, NETBINDADD)), 1052);
    assert!(control(&service, SHUTDOWN).is_err(), "clients may not");
    installed.until_logged("callback Running");
    service.stop().unwrap();
    // Wine ends a process that is told anything between its stop and its report of it.
    installed.until_logged("callback StopPending");
    if is_wine() {
        // Windows answers with the state.
        assert_eq!(code(control(&service, INTERROGATE)), 1061);
    }
    assert_eq!(number(service.pause()), 1061);
    reached(&service, ServiceState::Stopped);
    assert_eq!(code(control(&service, INTERROGATE)), 1062);
}
