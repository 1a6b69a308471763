//! The example's commands.

use std::time::Duration;

use windows_service::service::{
    ServiceAccess, ServiceActionType, ServiceStartType, ServiceState, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::harness::{Installed, is_wine, number, reached};

#[test]
fn a_service_is_installed_as_its_options_say_and_uninstalled() {
    let installed = Installed::with(Duration::ZERO, &["--start", "auto"]);
    let service = installed.open();
    let config = service.query_config().unwrap();
    assert_eq!(config.service_type, ServiceType::OWN_PROCESS);
    assert_eq!(config.start_type, ServiceStartType::AutoStart);
    assert!(config.executable_path.display().to_string().contains("service.exe"));
    if !is_wine() {
        // Wine takes them, and cannot tell them.
        let actions = service.get_failure_actions().unwrap().actions.unwrap();
        assert_eq!(actions.len(), 3);
        assert!(actions.iter().all(|action| action.action_type == ServiceActionType::Restart));
    }
    drop(service);
    let name = installed.name.clone();
    drop(installed);
    let access = ServiceManagerAccess::CONNECT;
    let manager = ServiceManager::local_computer(None::<&str>, access).unwrap();
    assert_eq!(number(manager.open_service(name, ServiceAccess::QUERY_STATUS)), 1060);
}

#[test]
fn a_service_is_driven_by_its_commands() {
    let installed = Installed::new(Duration::from_millis(50));
    assert!(installed.succeeds("query", &[]).starts_with("stopped "));
    assert!(installed.succeeds("start", &[]).starts_with("running "));
    assert!(installed.succeeds("pause", &[]).starts_with("paused "));
    assert!(installed.succeeds("continue", &[]).starts_with("running "));
    assert!(installed.succeeds("interrogate", &[]).starts_with("running "));
    assert!(installed.succeeds("paramchange", &[]).starts_with("running "));
    assert!(installed.succeeds("control 130", &[]).starts_with("running "));
    assert!(installed.succeeds("stop", &[]).starts_with("stopped "));
    for callback in ["NotReady", "StartPending", "Running", "PausePending", "Paused"] {
        installed.until_logged(&format!("callback {callback},"));
    }
    for callback in ["ContinuePending", "StopPending", "Stopped"] {
        installed.until_logged(&format!("callback {callback},"));
    }
    reached(&installed.open(), ServiceState::Stopped);
}

#[test]
fn a_command_that_fails_says_why() {
    let installed = Installed::new(Duration::ZERO);
    let output = installed.command("stop", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1062"));
    assert_eq!(installed.command("levitate", &[]).status.code(), Some(64));
    assert_eq!(installed.command("control many", &[]).status.code(), Some(64));
}
