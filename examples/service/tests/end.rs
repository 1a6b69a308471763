//! Tests the end of a service, and failures of its start.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::Duration;

use windows_service::service::{
    Service, ServiceAccess, ServiceErrorControl, ServiceExitCode, ServiceInfo, ServiceStartType,
    ServiceState, ServiceType, UserEventCode,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::harness::{Installed, is_wine, number, program, reached, until};

#[test]
fn a_service_that_stops_on_request_has_exit_code_0() {
    let installed = Installed::new(Duration::ZERO);
    let service = installed.started();
    service.stop().unwrap();
    let status = reached(&service, ServiceState::Stopped);
    assert_eq!(status.exit_code, ServiceExitCode::NO_ERROR);
    assert_eq!((status.checkpoint, status.wait_hint), (0, Duration::ZERO));
}

#[test]
fn a_failed_service_reports_its_exit_code() {
    let installed = Installed::new(Duration::ZERO);
    let service = installed.started();
    service.notify(UserEventCode::from_raw(131).unwrap()).unwrap();
    let status = reached(&service, ServiceState::Stopped);
    assert_eq!(status.exit_code, ServiceExitCode::ServiceSpecific(3));
}

#[test]
fn a_crash_of_a_service_is_detected() {
    let installed = Installed::new(Duration::ZERO);
    let service = installed.started();
    let process = service.query_status().unwrap().process_id;
    assert!(process.is_some());
    // The process may exit before it answers.
    let _ = service.notify(UserEventCode::from_raw(200).unwrap());
    installed.until_logged("control: User(UserControl(200))");
    if is_wine() {
        // After the crash, wine still reports the last state, but a control fails.
        until("the control STOP fails", || service.stop().is_err().then_some(()));
    } else {
        // The failure actions restart the service.
        until("the process has ended", || {
            let status = service.query_status().unwrap();
            (status.process_id != process).then_some(())
        });
        reached(&service, ServiceState::Running);
    }
}

fn create_service(
    name: &str,
    program: &str,
    arguments: &[&str],
    start: ServiceStartType,
) -> Service {
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&str>, access).unwrap();
    let info = ServiceInfo {
        name: format!("{name}-{}", std::process::id()).into(),
        display_name: format!("{name}-{}", std::process::id()).into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: start,
        error_control: ServiceErrorControl::Normal,
        executable_path: program.into(),
        launch_arguments: arguments.iter().map(OsString::from).collect(),
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    };
    manager.create_service(&info, ServiceAccess::ALL_ACCESS).unwrap()
}

#[test]
fn a_service_that_is_disabled_or_has_no_program_does_not_start() {
    let absent = create_service("absent", r"C:\nowhere.exe", &[], ServiceStartType::OnDemand);
    assert_eq!(number(absent.start::<&str>(&[])), 2);
    absent.delete().unwrap();
    let disabled = program().display().to_string();
    let disabled = create_service("disabled", &disabled, &["run"], ServiceStartType::Disabled);
    assert_eq!(number(disabled.start::<&str>(&[])), 1058);
    disabled.delete().unwrap();
}

#[test]
fn a_service_that_is_started_in_a_console_runs_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("service.log");
    let mut child = Command::new(program())
        .args(["console", "--name", "console", "--log"])
        .arg(&log)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("the service runs", || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.contains("callback: Running, state: running, control: none").then_some(())
    });
    // `make test-windows` tests Ctrl-C, with a program that runs in a terminal.
    child.kill().unwrap();
    child.wait().unwrap();
}
