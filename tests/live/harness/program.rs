//! Starts programs under test.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::daemon::DaemonProcess;
use super::patience::until;

/// Returns the path of one of the workspace's examples.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test program has a path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let program = profile.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is missing: build the examples first, as `make test` does, with \
         `cargo build --workspace --examples`",
        program.display()
    );
    program
}

/// A program, its arguments and its environment.
#[derive(Debug)]
pub(crate) struct TestProgram {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    /// Standard error, if it is not a file.
    stderr: Option<OwnedFd>,
    dir: TempDir,
}

/// What is known about a program that failed to start.
#[derive(Debug)]
pub(crate) struct FailedStart {
    /// The content of standard error.
    pub(crate) stderr: String,
    /// The exit status.
    pub(crate) status: String,
    /// The number of processes that the warden (`programs/warden.rs`) has reaped.
    pub(crate) processes: usize,
}

impl TestProgram {
    fn new(name: &str, program: PathBuf) -> Self {
        TestProgram {
            name: name.to_owned(),
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            stderr: None,
            dir: tempfile::tempdir().expect("a directory for the test"),
        }
    }

    /// Returns one of the workspace's examples, on any free port. It logs in the test's directory.
    pub(crate) fn example(name: &str) -> Self {
        TestProgram::example_on(name, 0)
    }

    /// Returns one of the workspace's examples, on this port. It logs in the test's directory.
    pub(crate) fn example_on(name: &str, port: u16) -> Self {
        let start = TestProgram::new(name, example(name));
        let dir = start.dir.path().to_owned();
        start.argument(port.to_string()).environment("EXAMPLE_LOG_DIR", dir)
    }

    fn program(name: &str, path: &str) -> Self {
        let start = TestProgram::new(name, PathBuf::from(path));
        let socket = start.dir.path().join("commands");
        start.argument(format!("command_socket={}", socket.display()))
    }

    /// Returns the pre-forking test daemon, see `programs/pool.rs`.
    pub(crate) fn pool() -> Self {
        TestProgram::program("pool", env!("CARGO_BIN_EXE_pool"))
    }

    /// Returns the test daemon that forks for each connection, see `programs/postfork.rs`.
    pub(crate) fn postfork() -> Self {
        TestProgram::program("postfork", env!("CARGO_BIN_EXE_postfork"))
    }

    /// Returns the test daemon without children, see `programs/solo.rs`.
    pub(crate) fn solo() -> Self {
        TestProgram::program("solo", env!("CARGO_BIN_EXE_solo"))
    }

    /// Returns the test daemon whose requests are byte strings, see `programs/large.rs`.
    pub(crate) fn large() -> Self {
        TestProgram::program("large", env!("CARGO_BIN_EXE_large"))
    }

    /// Returns the test daemon whose parent has other threads, see `programs/other_threads.rs`.
    pub(crate) fn other_threads() -> Self {
        TestProgram::program("other_threads", env!("CARGO_BIN_EXE_other_threads"))
    }

    /// Returns the test daemon whose parent panics, see `programs/panicking.rs`.
    pub(crate) fn panicking() -> Self {
        TestProgram::program("panicking", env!("CARGO_BIN_EXE_panicking"))
    }

    /// Returns the test daemon that uses `serve`, see `programs/serve.rs`.
    pub(crate) fn serve() -> Self {
        TestProgram::program("serve", env!("CARGO_BIN_EXE_serve"))
    }

    /// Returns the test dispatcher, see `programs/dispatcher.rs`.
    #[cfg(target_os = "linux")]
    pub(crate) fn dispatcher() -> Self {
        TestProgram::program("dispatcher", env!("CARGO_BIN_EXE_dispatcher"))
    }

    /// Returns the test program with the manager of `daemon-prefork`, see `programs/workers.rs`.
    #[cfg(target_os = "linux")]
    pub(crate) fn workers() -> Self {
        TestProgram::program("workers", env!("CARGO_BIN_EXE_workers"))
    }

    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds options, separated by spaces. `DIR` is replaced by the test's directory.
    pub(crate) fn options(mut self, options: &str) -> Self {
        let dir = self.dir.path().display().to_string();
        self.arguments
            .extend(options.split_whitespace().map(|option| option.replace("DIR", &dir).into()));
        self
    }

    /// Adds `logfile=DIR/NAME.log`, the path that [`DaemonProcess::log`] reads.
    pub(crate) fn logged(self) -> Self {
        let option = format!("logfile=DIR/{}.log", self.name);
        self.options(&option)
    }

    pub(crate) fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Makes this descriptor standard error, instead of a file in the test's directory.
    #[cfg(target_os = "linux")]
    pub(crate) fn errors_to(mut self, stderr: OwnedFd) -> Self {
        self.stderr = Some(stderr);
        self
    }

    /// Launches the program in an unusual state, see `programs/launcher.rs`. The states are
    /// separated by spaces, and `DIR` is replaced by the test's directory.
    pub(crate) fn launched_with(mut self, states: &str) -> Self {
        let dir = self.dir.path().display().to_string();
        let launcher = PathBuf::from(env!("CARGO_BIN_EXE_launcher"));
        let program = std::mem::replace(&mut self.program, launcher).into_os_string();
        let states = states.split_whitespace().map(|state| state.replace("DIR", &dir).into());
        self.arguments.splice(0..0, states.chain(["--".into(), program]));
        self
    }

    /// Runs the program as on a kernel without Landlock, see `programs/without_landlock.rs`.
    pub(crate) fn without_landlock(mut self) -> Self {
        let executor = PathBuf::from(env!("CARGO_BIN_EXE_without_landlock"));
        let program = std::mem::replace(&mut self.program, executor);
        self.arguments.insert(0, program.into_os_string());
        self
    }

    /// Runs this shell command first, in the process that then becomes the program. `DIR` is
    /// replaced by the test's directory.
    pub(crate) fn after_shell_command(mut self, command: &str) -> Self {
        let command = command.replace("DIR", &self.dir.path().display().to_string());
        let script = format!("{command}; exec \"$0\" \"$@\"");
        let program = std::mem::replace(&mut self.program, PathBuf::from("/bin/sh"));
        self.arguments.splice(0..0, ["-c".into(), script.into(), program.into_os_string()]);
        self
    }

    /// Permits every user to write to the test's directory.
    pub(crate) fn writable_by_all(self) -> Self {
        let writable = Permissions::from_mode(0o777);
        std::fs::set_permissions(self.dir(), writable).expect("the directory is ours");
        self
    }

    /// Returns the test's directory, which exists before the daemon starts.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn spawn(self) -> DaemonProcess {
        let report = self.dir.path().join("warden");
        let error = self.dir.path().join("stderr");
        let error = self.stderr.unwrap_or_else(|| {
            std::fs::File::create(&error).expect("a file for standard error").into()
        });
        let mut warden = Command::new(env!("CARGO_BIN_EXE_warden"))
            .arg(&report)
            .arg(&self.program)
            .args(&self.arguments)
            .envs(self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(error)
            .spawn()
            .expect("the warden starts");
        let mut lines =
            BufReader::new(warden.stdout.take().expect("standard output is piped")).lines();
        let port = lines
            .next()
            .and_then(Result::ok)
            .and_then(|line| line.strip_prefix("PORT=")?.parse().ok());
        // The rest of the output is discarded, so that the pipe does not fill up.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        DaemonProcess::new(self.name, warden, self.dir, port)
    }

    /// Starts the program and waits until its parent and its first children are ready.
    #[track_caller]
    pub(crate) fn start(self) -> DaemonProcess {
        let daemon = self.launch();
        daemon.wait_until_running();
        daemon
    }

    /// Starts the program and waits until its parent runs, or no process is left.
    #[track_caller]
    pub(crate) fn launch(self) -> DaemonProcess {
        let is_detached = self.arguments.iter().any(|argument| argument == "detach");
        let is_example = matches!(self.name.as_str(), "preforking" | "forking");
        let daemon = self.spawn();
        assert!(daemon.has_port(), "{} did not start: {}", daemon.name(), daemon.stderr());
        if is_detached || is_example {
            let code = until("the launching process ends", || daemon.launcher_status());
            assert_eq!(code, "code 0", "{}", daemon.stderr());
        }
        daemon.wait_until_launched();
        daemon
    }

    /// Starts the program, and waits for nothing but its port.
    pub(crate) fn launch_without_waiting(self) -> DaemonProcess {
        self.spawn()
    }

    /// Starts the program. Returns `None` if it cannot listen.
    pub(crate) fn try_start(self) -> Option<DaemonProcess> {
        let daemon = self.spawn();
        daemon.has_port().then(|| {
            daemon.wait_until_launched();
            daemon
        })
    }

    /// Starts the program, which must fail to start, and waits until none of its processes is left.
    #[track_caller]
    pub(crate) fn fail_to_start(self) -> FailedStart {
        let mut daemon = self.spawn();
        let ended = daemon.wait_until_gone();
        FailedStart {
            stderr: daemon.stderr(),
            status: daemon.launcher_status().unwrap_or_default(),
            processes: ended.len(),
        }
    }
}
