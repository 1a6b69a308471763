//! Scenarios of the preload step, and of what it leaves in the fork server.

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
    ("preload_runs_once_and_its_memory_is_in_every_child", preload_runs_once),
    ("an_error_of_preload_is_the_answer", an_error_of_preload_is_the_answer),
    ("a_panic_in_preload_is_the_answer", a_panic_in_preload_is_the_answer),
    ("a_thread_that_preload_leaves_is_named_in_the_refusal", a_thread_is_named),
    ("a_fork_that_the_system_refuses_gives_the_request_back", a_refused_fork_gives_back),
    ("a_failed_hangup_is_told_and_a_good_one_is_not", a_failed_hangup_is_told),
    ("ends_are_seen_whatever_a_library_has_ignored", ends_are_seen_whatever_a_library_has_ignored),
    (
        "an_end_that_somebody_else_has_collected_is_found",
        an_end_that_somebody_else_has_collected_is_found,
    ),
];

/// Loads a table, and says so.
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
    let (mut told, loaded) = io::pipe().expect("a pipe");
    let table = PreloadedTable { rows: Vec::new(), loaded: Some(loaded) };
    let builder = ForkServerBuilder::new(4).grace(GRACE);
    let (mut fork_server, PreloadedTable { rows, loaded }) = builder.spawn(table).expect("founded");
    drop(loaded);
    assert!(rows.is_empty(), "the parent stays small");
    let mut heard = String::new();
    told.read_to_string(&mut heard).expect("the end");
    assert_eq!(heard, fork_server.pid().to_string());
    for row in [0, 500, 999] {
        fork_server.fork(Serde(row)).expect("ordered");
    }
    let mut gone = 0;
    while gone < 3 {
        for event in fork_server.wait(None).expect("it is there") {
            if let ForkServerEvent::Exited { exit, .. } = event {
                assert_eq!(exit, Exit::Code(0));
                gone += 1;
            }
        }
    }
}

/// A preload step that is a closure; its children say that they live.
struct PreloadClosure<F>(F);

impl<F: FnMut() -> Result<(), Box<dyn Error>> + 'static> ChildProgram for PreloadClosure<F> {
    type Request = UnixStream;

    fn preload(&mut self) -> Result<(), Box<dyn Error>> {
        (self.0)()
    }

    fn run_child(self, start: ChildStart<UnixStream>) -> i32 {
        send_byte(&start.request.expect("unpacked"));
        0
    }
}

fn an_error_of_preload_is_the_answer() {
    let step = PreloadClosure(|| Err("the table is empty".into()));
    let error = ForkServerBuilder::new(1).spawn(step).map(|_founded| ()).expect_err("refused");
    assert!(matches!(error, ForkServerError::PreloadFailed { .. }));
    assert_eq!(error.to_string(), "cannot preload: the table is empty");
    nobody_is_left();
}

fn a_panic_in_preload_is_the_answer() {
    let step = PreloadClosure(|| panic!("in preload"));
    let error = ForkServerBuilder::new(1).spawn(step).map(|_founded| ()).expect_err("refused");
    let sentence = error.to_string();
    assert!(matches!(error, ForkServerError::Lost { .. }), "{sentence}");
    assert!(sentence.contains("101"), "{sentence}");
    nobody_is_left();
}

/// No child, not even a zombie.
fn nobody_is_left() {
    use daemon_forkserver::sys::reap::reap_any;
    assert_eq!(reap_any().expect("answers"), None);
}

/// A fork is ordered and refused: its request is back and works. Answers with the refusal.
fn is_refused(server: &mut TestServer<UnixStream>) -> ForkRefusal {
    let (near, far) = UnixStream::pair().expect("a pair");
    let ordered = server.fork(near);
    let ForkServerEvent::ForkFailed { child, request, refusal } = server.next() else {
        panic!("it was forked");
    };
    assert_eq!(child, ordered);
    assert_eq!(server.fork_server.board().free(), server.fork_server.board().slots());
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
    let mut server = TestServer::of(2, step);
    let refusal = is_refused(&mut server);
    assert!(!refusal.is_temporary());
    let sentence = refusal.to_string();
    assert!(
        sentence.starts_with("refusing to fork: 1 other thread is running: \"companion\""),
        "{sentence}"
    );
    assert_eq!(is_refused(&mut server), refusal);
    server.shut_down();
}

/// Makes this process one that may not fork: another user's, if it is root, and at his limit.
fn become_unable_to_fork() -> Result<(), Box<dyn Error>> {
    let nobody = Privileges::with_group(User::named("65534")?, Group::named("65534")?)?;
    if nobody.check().is_ok() {
        drop_to(&nobody)?;
    }
    set_limit(Resource::Processes, 0, 0)?;
    Ok(())
}

fn a_refused_fork_gives_back() {
    let mut server = TestServer::of(2, PreloadClosure(become_unable_to_fork));
    for _again in 0..2 {
        let refusal = is_refused(&mut server);
        assert!(refusal.is_temporary());
        let again = std::io::ErrorKind::WouldBlock;
        let ForkRefusal::System(errno) = refusal else {
            panic!("{refusal}");
        };
        assert_eq!(io::Error::from_raw_os_error(errno).kind(), again);
    }
    server.shut_down();
}

/// A log that can be reopened once.
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

    fn run_child(self, _birth: ChildStart<()>) -> i32 {
        i32::try_from(self.reopened).unwrap_or(-1)
    }
}

fn a_failed_hangup_is_told() {
    let mut server = TestServer::of(1, ReopenableLog { reopened: 0 });
    server.fork_server.reopen_logs().expect("sent");
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(1));
    server.fork_server.reopen_logs().expect("sent");
    let ForkServerEvent::ReopenLogsFailed { error } = server.next() else {
        panic!("something else");
    };
    assert_eq!(error, "the disk is full");
    server.shut_down();
}

/// Ignores the ends of children from its preload step, or from a hangup on.
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

fn ends_are_seen_whatever_a_library_has_ignored() {
    let mut server = TestServer::of(1, IgnoresChildSignal { from: IgnoredSince::Preload });
    server.fork(());
    assert_eq!(server.exit_of_next_child(), Exit::Code(7));
    server.shut_down();
}

fn an_end_that_somebody_else_has_collected_is_found() {
    let mut server = TestServer::of(2, IgnoresChildSignal { from: IgnoredSince::ReopenLogs });
    let (lost, alive) = (server.fork(()), server.fork(()));
    let (_, pid) = server.born();
    server.born();
    server.fork_server.reopen_logs().expect("sent");
    server.fork_server.signal(lost, Signal::Kill).expect("sent");
    eventually("the kernel has cleared it away", || !process::exists(pid));
    // Of the one that is there nothing is told.
    server.fork_server.check_child(alive).expect("sent");
    server.fork_server.check_child(lost).expect("sent");
    let (gone, exit, _last) = server.gone();
    assert_eq!((gone, exit), (lost, Exit::Unknown));
    // Its slot is free again.
    server.fork_server.check_child(lost).expect("sent");
    let next = server.fork(());
    let (born, _pid) = server.born();
    assert_eq!((born, born.slot), (next, lost.slot));
    server.shut_down();
}
