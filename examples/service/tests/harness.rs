//! The test harness: a service that is installed for a test, and uninstalled after it.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use windows_service::service::{Service, ServiceAccess, ServiceState, ServiceStatus};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

#[path = "../../../tests/patience.rs"]
mod patience;
pub(crate) use patience::until;

/// Returns whether the tests run under wine.
pub(crate) fn is_wine() -> bool {
    std::env::var_os("WINE").is_some()
}

/// Returns the path of the example's program.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(std::path::Path::parent).unwrap();
    let program = profile.join("examples").join("service.exe");
    assert!(program.exists(), "{} is missing: build the example first", program.display());
    program
}

/// An installed service. Dropping it uninstalls the service.
pub(crate) struct Installed {
    pub(crate) name: String,
    dir: TempDir,
}

impl Installed {
    /// Installs a service in which each step (starting, pausing, continuing or stopping) takes this
    /// long.
    #[track_caller]
    pub(crate) fn new(step: Duration) -> Installed {
        Installed::with(step, &[])
    }

    #[track_caller]
    pub(crate) fn with(step: Duration, options: &[&str]) -> Installed {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("daemon-service-{}-{number}", std::process::id());
        let installed = Installed { name, dir: tempfile::tempdir().unwrap() };
        let step = step.as_millis().to_string();
        let log = installed.log_file().display().to_string();
        let arguments = ["--step", &step, "--log", &log];
        installed.succeeds("install", &[&arguments, options].concat());
        installed
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("service.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn until_logged(&self, text: &str) {
        until(&format!("{text:?} is logged"), || self.log().contains(text).then_some(()));
    }

    /// Runs a command of the example and returns its output.
    #[track_caller]
    pub(crate) fn command(&self, command: &str, options: &[&str]) -> Output {
        self.try_command(command, options).unwrap()
    }

    fn try_command(&self, command: &str, options: &[&str]) -> std::io::Result<Output> {
        let mut line = Command::new(program());
        line.args(command.split(' ')).args(["--name", &self.name]).args(options);
        output(&mut line)
    }

    #[track_caller]
    pub(crate) fn succeeds(&self, command: &str, options: &[&str]) -> String {
        let output = self.command(command, options);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {error}{}", self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn open(&self) -> Service {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> windows_service::Result<Service> {
        let access = ServiceManagerAccess::CONNECT;
        let manager = ServiceManager::local_computer(None::<&str>, access)?;
        manager.open_service(&self.name, ServiceAccess::ALL_ACCESS)
    }

    /// Starts the service, and waits until it runs.
    #[track_caller]
    pub(crate) fn started(&self) -> Service {
        let service = self.open();
        service.start::<&str>(&[]).unwrap();
        reached(&service, ServiceState::Running);
        service
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The log is deleted with the test's directory, so print it.
            println!("{}", self.log());
        }
        // Ignore errors, because the service is possibly not installed or not running.
        if let Ok(service) = self.try_open() {
            let _ = service.stop();
            if !std::thread::panicking() && !self.log().contains("User(UserControl(200))") {
                reached(&service, ServiceState::Stopped);
            }
        }
        let uninstalled = self.try_command("uninstall", &[]);
        assert!(uninstalled.is_ok() || std::thread::panicking(), "{uninstalled:?}");
    }
}

/// Waits until the service is in this state.
#[track_caller]
pub(crate) fn reached(service: &Service, state: ServiceState) -> ServiceStatus {
    until(&format!("the service is {state:?}"), || {
        let status = service.query_status().unwrap();
        (status.current_state == state).then_some(status)
    })
}

/// Runs a program, and returns its output.
pub(crate) fn output(line: &mut Command) -> std::io::Result<Output> {
    const INTERNAL_ERROR: i32 = 1359;
    match line.output() {
        // Wine fails to start about one program in several thousand.
        Err(error) if is_wine() && error.raw_os_error() == Some(INTERNAL_ERROR) => line.output(),
        output => output,
    }
}

/// Returns the text of a value in the registry key of a service, or `None` if the value does not
/// exist.
pub(crate) fn registered(key: &str, value: &str) -> Option<String> {
    let key = format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{key}");
    let output = output(Command::new("reg").args(["query", &key, "/v", value])).unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the number of a system error, or 0 for success.
#[track_caller]
pub(crate) fn number<T>(result: Result<T, windows_service::Error>) -> i32 {
    match result {
        Err(windows_service::Error::Winapi(error)) => error.raw_os_error().unwrap(),
        Err(other) => panic!("not a system error: {other}"),
        Ok(_) => 0,
    }
}
