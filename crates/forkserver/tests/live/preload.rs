//! Scenarios of the program's code that runs in the fork server: preload, and reopening the logs.

use std::error::Error;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use daemon_forkserver::core::Exit;
use daemon_forkserver::sys::limits::{Resource, set_limit};
use daemon_forkserver::sys::privileges::{Group, Privileges, User, drop_to};
use daemon_forkserver::sys::process::{self, Signal};
use daemon_forkserver::sys::signals::ignore;
use daemon_forkserver::{
    ChildProgram, ChildStart, ForkRefusal, ForkServerBuilder, ForkServerError, ForkServerEvent,
    Serde,
};

use super::support::{GRACE, TestServer, receive_byte, send_byte};
use crate::scenarios::{Scenario, eventually};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("preload_runs_once_and_every_child_has_its_data", preload_runs_once),
    ("an_error_in_preload_is_returned", an_error_in_preload_is_returned),
    ("a_panic_in_preload_is_returned_as_an_error", a_panic_in_preload_is_returned),
    ("a_thread_started_by_preload_is_named_in_the_error", a_thread_is_named),
    ("a_fork_refused_by_the_system_returns_the_request", a_refused_fork_returns_the_request),
    ("reopening_the_logs_is_reported_only_if_it_fails", a_failed_reopen_is_reported),
    ("exits_are_noticed_even_if_preload_ignores_chld", exits_are_noticed_if_preload_ignores_chld),
    ("a_child_reaped_by_other_code_is_detected", a_child_reaped_by_other_code_is_detected),
];

/// A program that loads a table in its preload step, and then writes the pid of its process to a
/// pipe.
struct PreloadedTable {
    rows: Vec<u32>,
    loaded: Option<PipeWriter>,
}

impl ChildProgram for PreloadedTable {
    type Request = Serde<u32>;

    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        self.rows = (0..1000).collect();
        if let Some(mut loaded) = self.loaded.take() {
            write!(loaded, "{}", std::process::id())?;
        }
        Ok(())
    }

    fn run_child(self, start: ChildStart<Serde<u32>>) -> i32 {
        let Ok(Serde(row)) = start.request else {
            return 1;
        };
        i32::from(self.rows.get(row as usize) != Some(&row))
    }
}

fn preload_runs_once() {
    let (mut reader, loaded) = io::pipe().expect("a pipe opens");
    let table = PreloadedTable { rows: Vec::new(), loaded: Some(loaded) };
    let builder = ForkServerBuilder::new(4).grace(GRACE);
    let (mut fork_server, PreloadedTable { rows, loaded }) =
        builder.spawn(table).expect("the fork server starts");
    drop(loaded);
    assert!(rows.is_empty(), "the parent has loaded the table");
    let mut received = String::new();
    reader.read_to_string(&mut received).expect("read until the end");
    assert_eq!(received, fork_server.pid().to_string());
    for row in [0, 500, 999] {
        fork_server.fork(Serde(row)).expect("the fork is requested");
    }
    let mut gone = 0;
    while gone < 3 {
        for event in fork_server.wait(None).expect("the process exists") {
            if let ForkServerEvent::Exited { exit, .. } = event {
                assert_eq!(exit, Exit::Code(0));
                gone += 1;
            }
        }
    }
}

/// A program whose preload step is a closure, and whose children send one byte.
struct PreloadClosure<F>(F);

impl<F: FnMut() -> Result<(), Box<dyn Error>> + 'static> ChildProgram for PreloadClosure<F> {
    type Request = UnixStream;

    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        (self.0)()
    }

    fn run_child(self, start: ChildStart<UnixStream>) -> i32 {
        send_byte(&start.request.expect("the request decodes"));
        0
    }
}

fn an_error_in_preload_is_returned() {
    let step = PreloadClosure(|| Err("the table is empty".into()));
    let error =
        ForkServerBuilder::new(1).spawn(step).map(|_spawned| ()).expect_err("preload fails");
    assert!(matches!(error, ForkServerError::PreloadFailed { .. }));
    assert_eq!(error.to_string(), "preload failed: the table is empty");
    assert_no_children();
}

fn a_panic_in_preload_is_returned() {
    let step = PreloadClosure(|| panic!("in preload"));
    let error =
        ForkServerBuilder::new(1).spawn(step).map(|_spawned| ()).expect_err("preload fails");
    let message = error.to_string();
    assert!(matches!(error, ForkServerError::Lost { .. }), "{message}");
    assert!(message.contains("101"), "{message}");
    assert_no_children();
}

/// Asserts that this process has no child, not even a zombie.
fn assert_no_children() {
    use daemon_forkserver::sys::reap::reap_any;
    assert_eq!(reap_any().expect("waitpid succeeds"), None);
}

/// Requests a fork that is refused, checks that the returned request is usable, and returns the
/// refusal.
fn fork_is_refused(server: &mut TestServer<UnixStream>) -> ForkRefusal {
    let (near, far) = UnixStream::pair().expect("a socket pair opens");
    let requested = server.fork(near);
    let ForkServerEvent::ForkFailed { child, request, refusal } = server.next_event() else {
        panic!("expected ForkFailed");
    };
    assert_eq!(child, requested);
    assert_eq!(server.fork_server.board().empty_slots(), server.fork_server.board().slots());
    send_byte(&request);
    assert!(receive_byte(&far));
    refusal
}

fn a_thread_is_named() {
    let step = PreloadClosure(|| {
        thread::Builder::new().name("companion".into()).spawn(|| {
            loop {
                thread::park();
            }
        })?;
        Ok(())
    });
    let mut server = TestServer::new(2, step);
    let refusal = fork_is_refused(&mut server);
    assert!(!refusal.is_temporary());
    let message = refusal.to_string();
    assert!(
        message.starts_with("refusing to fork: 1 other thread is running: \"companion\""),
        "{message}"
    );
    assert_eq!(fork_is_refused(&mut server), refusal);
    server.shut_down();
}

/// Sets the process limit to 0. A process of root changes its user first, because the limit does
/// not apply to root.
fn become_unable_to_fork() -> Result<(), Box<dyn Error>> {
    let nobody = Privileges::with_group(User::named("65534")?, Group::named("65534")?)?;
    if nobody.check().is_ok() {
        drop_to(&nobody)?;
    }
    set_limit(Resource::Processes, 0, 0)?;
    Ok(())
}

fn a_refused_fork_returns_the_request() {
    let mut server = TestServer::new(2, PreloadClosure(become_unable_to_fork));
    for _again in 0..2 {
        let refusal = fork_is_refused(&mut server);
        assert!(refusal.is_temporary());
        let again = std::io::ErrorKind::WouldBlock;
        let ForkRefusal::System(errno) = refusal else {
            panic!("{refusal}");
        };
        assert_eq!(io::Error::from_raw_os_error(errno).kind(), again);
    }
    server.shut_down();
}

/// A program whose logs can be reopened only once.
struct ReopenableLog {
    reopened: u32,
}

impl ChildProgram for ReopenableLog {
    type Request = ();

    fn reopen_logs(&mut self) -> Result<(), Box<dyn Error>> {
        self.reopened += 1;
        match self.reopened {
            1 => Ok(()),
            _ => Err("the disk is full".into()),
        }
    }

    fn run_child(self, _start: ChildStart<()>) -> i32 {
        i32::try_from(self.reopened).unwrap_or(-1)
    }
}

fn a_failed_reopen_is_reported() {
    let mut server = TestServer::new(1, ReopenableLog { reopened: 0 });
    server.fork_server.reopen_logs().expect("the command is sent");
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(1));
    server.fork_server.reopen_logs().expect("the command is sent");
    let ForkServerEvent::ReopenLogsFailed { error } = server.next_event() else {
        panic!("expected ReopenLogsFailed");
    };
    assert_eq!(error, "the disk is full");
    server.shut_down();
}

/// A program that ignores CHLD from its preload step on, or from the time when its logs are
/// reopened.
struct IgnoresChildSignal {
    from: IgnoredSince,
}

#[derive(PartialEq, Eq)]
enum IgnoredSince {
    Preload,
    ReopenLogs,
}

impl ChildProgram for IgnoresChildSignal {
    type Request = ();

    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        match self.from {
            IgnoredSince::Preload => Ok(ignore(Signal::Child)?),
            IgnoredSince::ReopenLogs => Ok(()),
        }
    }

    fn reopen_logs(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(ignore(Signal::Child)?)
    }

    fn run_child(self, start: ChildStart<()>) -> i32 {
        start.signals.release();
        match self.from {
            IgnoredSince::Preload => 7,
            IgnoredSince::ReopenLogs => loop {
                std::thread::park();
            },
        }
    }
}

fn exits_are_noticed_if_preload_ignores_chld() {
    let mut server = TestServer::new(1, IgnoresChildSignal { from: IgnoredSince::Preload });
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(7));
    server.shut_down();
}

fn a_child_reaped_by_other_code_is_detected() {
    let mut server = TestServer::new(2, IgnoresChildSignal { from: IgnoredSince::ReopenLogs });
    let (lost, alive) = (server.fork(()), server.fork(()));
    let (_, pid) = server.next_forked();
    server.next_forked();
    server.fork_server.reopen_logs().expect("the command is sent");
    server.fork_server.signal(lost, Signal::Kill).expect("the command is sent");
    eventually("the kernel has reaped the child", || !process::exists(pid));
    // Nothing is reported for the child that still exists.
    server.fork_server.check_child(alive).expect("the command is sent");
    server.fork_server.check_child(lost).expect("the command is sent");
    let (gone, exit, _last) = server.next_exited();
    assert_eq!((gone, exit), (lost, Exit::Unknown));
    // The slot of the lost child is free again.
    server.fork_server.check_child(lost).expect("the command is sent");
    let next = server.fork(());
    let (forked, _pid) = server.next_forked();
    assert_eq!((forked, forked.slot), (next, lost.slot));
    server.shut_down();
}
