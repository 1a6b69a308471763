//! Tests the states of the service, and the controls that the service accepts or refuses.

use std::sync::mpsc::{Receiver, channel};
use std::thread::park_timeout;
use std::time::Duration;

use daemon_winsys::control;
use windows_service::service::{
    ServiceAccess, ServiceControlAccept, ServiceState, ServiceStatus, UserEventCode,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::harness::{Installed, is_wine, number, reached};

const INTERROGATE: u32 = 4;
const SHUTDOWN: u32 = 5;
const PARAMCHANGE: u32 = 6;
const NETBINDADD: u32 = 7;

/// Returns a channel that receives the present state of the service and each change, until the
/// service has stopped.
fn watch_states(installed: &Installed) -> Receiver<ServiceStatus> {
    let (sender, changes) = channel();
    let name = installed.name.clone();
    std::thread::spawn(move || {
        // Handles cannot be shared between threads.
        let access = ServiceManagerAccess::CONNECT;
        let manager = ServiceManager::local_computer(None::<&str>, access).unwrap();
        let service = manager.open_service(name, ServiceAccess::QUERY_STATUS).unwrap();
        let mut seen: Vec<ServiceStatus> = Vec::new();
        loop {
            let status = service.query_status().unwrap();
            if seen.last().is_none_or(|last| last.current_state != status.current_state) {
                seen.push(status.clone());
                sender.send(status).unwrap();
                if seen.len() > 1 && seen.last().unwrap().current_state == ServiceState::Stopped {
                    return;
                }
            }
            park_timeout(Duration::from_millis(2));
        }
    });
    changes
}

#[test]
fn every_state_is_reported_with_its_wait_hint_and_accepted_controls() {
    let installed = Installed::new(Duration::from_millis(400));
    let changes = watch_states(&installed);
    let mut seen = vec![changes.recv().unwrap()];
    let mut wait_for = |state: ServiceState| loop {
        let status = changes.recv().unwrap();
        let current = status.current_state;
        seen.push(status);
        if current == state {
            return;
        }
    };
    let service = installed.open();
    service.start::<&str>(&[]).unwrap();
    wait_for(ServiceState::Running);
    service.pause().unwrap();
    wait_for(ServiceState::Paused);
    service.resume().unwrap();
    wait_for(ServiceState::Running);
    service.stop().unwrap();
    wait_for(ServiceState::Stopped);
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
fn a_service_receives_each_kind_of_control() {
    let installed = Installed::new(Duration::ZERO);
    let service = installed.started();
    control(&service, INTERROGATE).unwrap();
    installed.until_logged("control: interrogate");
    control(&service, PARAMCHANGE).unwrap();
    installed.until_logged("callback: Unhandled, state: running, control: ParamChange");
    for code in [128, 130, 255] {
        service.notify(UserEventCode::from_raw(code).unwrap()).unwrap();
        installed.until_logged(&format!("control: User(UserControl({code}))"));
    }
    service.pause().unwrap();
    installed.until_logged("callback: PausePending, state: pausing, control: Pause");
    reached(&service, ServiceState::Paused);
    service.resume().unwrap();
    installed.until_logged("callback: ContinuePending, state: continuing, control: Continue");
    reached(&service, ServiceState::Running);
    service.stop().unwrap();
    installed.until_logged("callback: StopPending, state: stopping, control: Stop");
    reached(&service, ServiceState::Stopped);
}

#[test]
fn controls_that_do_not_fit_the_state_are_refused() {
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
    assert!(control(&service, SHUTDOWN).is_err(), "only Windows may send SHUTDOWN");
    installed.until_logged("callback: Running");
    service.stop().unwrap();
    // Wine kills a process that receives a control between STOP and its report of STOP_PENDING.
    installed.until_logged("callback: StopPending");
    if is_wine() {
        // Wine refuses INTERROGATE in this state. Windows returns the state.
        assert_eq!(code(control(&service, INTERROGATE)), 1061);
    }
    assert_eq!(number(service.pause()), 1061);
    reached(&service, ServiceState::Stopped);
    assert_eq!(code(control(&service, INTERROGATE)), 1062);
}
