//! Tests the commands of the example.

use std::time::Duration;

use windows_service::service::{
    ServiceAccess, ServiceActionType, ServiceStartType, ServiceState, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::harness::{Installed, is_wine, number, reached, registered};

#[test]
fn install_stores_its_options_and_uninstall_removes_the_service_and_its_event_source() {
    let installed = Installed::with(Duration::ZERO, &["--start", "auto"]);
    let service = installed.open();
    let config = service.query_config().unwrap();
    assert_eq!(config.service_type, ServiceType::OWN_PROCESS);
    assert_eq!(config.start_type, ServiceStartType::AutoStart);
    assert!(config.executable_path.display().to_string().contains("service.exe"));
    assert_eq!(config.account_name, Some("LocalSystem".into()));
    assert_eq!(config.display_name, format!("Echo ({})", installed.name).as_str());
    // 0x7530 milliseconds are 30 s.
    assert!(registered(&installed.name, "PreshutdownTimeout").unwrap().contains("0x7530"));
    let description = registered(&installed.name, "Description").unwrap();
    assert!(description.contains("An echo server"), "{description}");
    // With this message file the event log shows each record as it was written.
    let source = format!(r"EventLog\Application\{}", installed.name);
    let messages = registered(&source, "EventMessageFile").unwrap();
    assert!(messages.contains("EventCreate.exe"), "{messages}");
    assert!(registered(&source, "TypesSupported").unwrap().contains("0x7"));
    if !is_wine() {
        // Wine accepts failure actions but does not store them.
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
    assert_eq!(registered(&source, "EventMessageFile"), None);
}

#[test]
fn install_stores_the_account_and_keeps_the_password_out_of_the_command_line() {
    let account = r"NT AUTHORITY\LocalService";
    let installed = Installed::with(Duration::ZERO, &["--account", account]);
    let config = installed.open().query_config().unwrap();
    assert_eq!(config.account_name, Some(account.into()));
    assert!(registered(&installed.name, "ObjectName").unwrap().contains(account));
    drop(installed);
    if is_wine() {
        // This account does not exist. Wine accepts it, but Windows refuses it.
        let options = ["--account", r".\echo", "--password", "open-sesame"];
        let installed = Installed::with(Duration::ZERO, &options);
        let config = installed.open().query_config().unwrap();
        assert_eq!(config.account_name, Some(r".\echo".into()));
        assert!(!config.executable_path.display().to_string().contains("sesame"));
    }
}

#[test]
fn a_failed_installation_reports_the_account_and_the_reason() {
    let installed = Installed::new(Duration::ZERO);
    let fails = |options: &[&str]| {
        let output = installed.command("install", options);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), error)
    };
    let (code, error) = fails(&["--account", r".\echo", "--password", "open-sesame"]);
    assert_eq!(code, Some(1));
    let expected = format!(r"cannot install {} as .\echo: ", installed.name);
    // Error 1073: a service with this name exists already.
    assert!(error.contains(&expected) && error.contains("1073"), "{error}");
    assert!(!error.contains("sesame"), "{error}");
    let (code, error) = fails(&["--password", "open-sesame"]);
    assert_eq!(code, Some(64));
    assert!(error.contains("--password needs --account"), "{error}");
    if !is_wine() {
        // Wine accepts any account. Error 1057: the account does not exist.
        let name = format!("{}-stranger", installed.name);
        let options = ["--name", &name, "--account", r".\no-such-account"];
        let (code, error) = fails(&options);
        assert_eq!(code, Some(1));
        assert!(error.contains("1057"), "{error}");
    }
}

#[test]
fn log_records_are_written_to_the_event_log() {
    if is_wine() {
        eprintln!(
            "skipped: wine does not store an event log; `make test-windows` checks the records in \
             wine's debug trace instead"
        );
        return;
    }
    let installed = Installed::new(Duration::ZERO);
    let service = installed.started();
    service.stop().unwrap();
    reached(&service, ServiceState::Stopped);
    let query = format!("*[System[Provider[@Name='{}']]]", installed.name);
    let arguments = ["qe", "Application", &format!("/q:{query}"), "/f:text"];
    let output = std::process::Command::new("wevtutil").args(arguments).output().unwrap();
    let records = String::from_utf8_lossy(&output.stdout).into_owned();
    for callback in ["StartPending", "Running", "StopPending"] {
        assert!(records.contains(&format!("callback: {callback}")), "{records}");
    }
}

#[test]
fn the_commands_control_the_service() {
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
        installed.until_logged(&format!("callback: {callback},"));
    }
    for callback in ["ContinuePending", "StopPending", "Stopped"] {
        installed.until_logged(&format!("callback: {callback},"));
    }
    reached(&installed.open(), ServiceState::Stopped);
}

#[test]
fn a_failed_command_reports_the_reason() {
    let installed = Installed::new(Duration::ZERO);
    let output = installed.command("stop", &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("cannot stop {}: ", installed.name);
    assert!(error.contains(&expected) && error.contains("1062"), "{error}");
    assert_eq!(installed.command("levitate", &[]).status.code(), Some(64));
    assert_eq!(installed.command("control many", &[]).status.code(), Some(64));
}
