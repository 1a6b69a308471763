//! Tests how a service reacts to the shutdown of the system.

use std::time::Duration;

use windows_service::service::ServiceState;

use super::harness::{Installed, is_wine, reached, until};
use super::pipe::FakeManager;

const SHUTDOWN: u32 = 5;
const PRESHUTDOWN: u32 = 15;

#[test]
fn a_system_shutdown_calls_the_shutdown_callback_and_stops_the_service() {
    if !is_wine() {
        eprintln!("skipped: Windows sends these controls only when it shuts down");
        return;
    }
    for (control, name) in [(SHUTDOWN, "Shutdown"), (PRESHUTDOWN, "Preshutdown")] {
        let installed = Installed::new(Duration::ZERO);
        let service = installed.open();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("service.log");
        let log = || std::fs::read_to_string(&file).unwrap_or_default();
        let mut fake =
            runtime.block_on(FakeManager::start(&installed, &file.display().to_string()));
        reached(&service, ServiceState::Running);
        assert_eq!(runtime.block_on(fake.send(control, &[])), 0);
        let status = reached(&service, ServiceState::StopPending);
        assert!(status.wait_hint >= Duration::from_secs(20), "{status:?}");
        reached(&service, ServiceState::Stopped);
        until("the process has ended", || fake.child.try_wait().unwrap());
        let log = log();
        for callback in ["Shutdown", "StopPending"] {
            let line = format!("callback: {callback}, state: stopping, control: {name}");
            assert!(log.contains(&line), "{line}: {log}");
        }
    }
}
