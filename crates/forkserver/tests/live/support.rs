//! Helpers for the scenarios: a program that runs a closure, and a fork server that returns one
//! event at a time.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use daemon_forkserver::core::{Exit, SlotEntry};
use daemon_forkserver::sys::fork::{ForkResult, fork};
use daemon_forkserver::sys::process::{Pid, Signal, exit_now, number_of};
use daemon_forkserver::{
    ChildId, ChildProgram, ChildStart, ForkServer, ForkServerBuilder, ForkServerEvent, Transfer,
};

use crate::scenarios::eventually;

/// The longest time that a scenario waits for an event.
const PATIENCE: Duration = Duration::from_secs(10);

/// A short grace period, for fork servers that a scenario shuts down.
pub(crate) const GRACE: Duration = Duration::from_millis(300);

/// A program whose children run a closure.
pub(crate) struct ClosureProgram<R, F> {
    run: F,
    request: PhantomData<fn(R)>,
}

/// Creates a program for which each child runs its own copy of this closure.
pub(crate) fn closure_program<R: Transfer, F: FnOnce(ChildStart<R>) -> i32 + 'static>(
    run: F,
) -> ClosureProgram<R, F> {
    ClosureProgram { run, request: PhantomData }
}

impl<R: Transfer, F: FnOnce(ChildStart<R>) -> i32 + 'static> ChildProgram for ClosureProgram<R, F> {
    type Request = R;

    fn run_child(self, start: ChildStart<R>) -> i32 {
        (self.run)(start)
    }
}

/// A fork server, and its events that have not been consumed yet.
pub(crate) struct TestServer<R> {
    pub(crate) fork_server: ForkServer<R>,
    events: VecDeque<ForkServerEvent<R>>,
}

impl<R: Transfer> TestServer<R> {
    /// Spawns a fork server with this number of slots, and drops the parent's copy of the program.
    pub(crate) fn new<B: ChildProgram<Request = R>>(slots: u32, program: B) -> Self {
        TestServer::with_builder(ForkServerBuilder::new(slots).grace(GRACE), program)
    }

    pub(crate) fn with_builder<B: ChildProgram<Request = R>>(
        builder: ForkServerBuilder,
        program: B,
    ) -> Self {
        let (fork_server, _program) = builder.spawn(program).expect("the fork server starts");
        TestServer { fork_server, events: VecDeque::new() }
    }

    pub(crate) fn fork(&mut self, request: R) -> ChildId {
        match self.fork_server.fork(request) {
            Ok(child) => child,
            Err(fork_error) => panic!("{}", fork_error.reason),
        }
    }

    /// Returns the next event.
    pub(crate) fn next_event(&mut self) -> ForkServerEvent<R> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            assert!(Instant::now() < deadline, "no event within {PATIENCE:?}");
            self.events.extend(self.fork_server.wait(Some(PATIENCE)).expect("the process exists"));
        }
    }

    pub(crate) fn next_forked(&mut self) -> (ChildId, Pid) {
        match self.next_event() {
            ForkServerEvent::Forked { child, pid } => (child, pid),
            _ => panic!("expected Forked"),
        }
    }

    pub(crate) fn next_exited(&mut self) -> (ChildId, Exit, SlotEntry) {
        match self.next_event() {
            ForkServerEvent::Exited { child, exit, last, .. } => (child, exit, last),
            _ => panic!("expected Exited"),
        }
    }

    /// Waits until the next child is forked and has exited, and returns how it exited.
    pub(crate) fn exit_of_next_child(&mut self) -> Exit {
        let (child, _pid) = self.next_forked();
        let (gone, exit, _last) = self.next_exited();
        assert_eq!(gone, child);
        exit
    }

    /// Waits until the link is closed and the fork server has exited, and returns how it exited.
    pub(crate) fn wait_until_lost(&mut self) -> Exit {
        let deadline = Instant::now() + PATIENCE;
        while self.fork_server.wait(Some(PATIENCE)).is_ok() {
            assert!(Instant::now() < deadline, "the link is still open");
        }
        let mut exit = None;
        eventually("the fork server has exited", || {
            exit = self.fork_server.reap().expect("a child of this process");
            exit.is_some()
        });
        exit.expect("the fork server is reaped")
    }

    /// Shuts down the fork server and all remaining children.
    pub(crate) fn shut_down(mut self) {
        self.fork_server.shut_down(GRACE).expect("the process exists");
        assert_eq!(self.wait_until_lost(), Exit::Code(0));
    }
}

pub(crate) const fn exit_by_number(signal: i32) -> Exit {
    Exit::Signal { number: signal, core: false }
}

/// Returns the exit status of a process that this signal has terminated.
pub(crate) fn exit_by(signal: Signal) -> Exit {
    exit_by_number(number_of(signal))
}

/// Waits until a signal ends this process. After a minute the process exits by itself, so that a
/// failed scenario leaves no process behind.
pub(crate) fn sleep_until_killed() -> ! {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_secs(60));
    }
    exit_now(99)
}

/// Forks a process that runs the closure, and returns the pid of that process. A scenario that
/// kills the parent of a fork server uses the forked process as this parent.
pub(crate) fn run_in_process(run: impl FnOnce()) -> Pid {
    match fork().expect("the fork succeeds") {
        ForkResult::Parent(pid) => pid,
        ForkResult::Child => {
            exit_now(catch_unwind(AssertUnwindSafe(run)).map_or(101, |()| 0));
        }
    }
}

pub(crate) fn send_byte(mut line: &UnixStream) {
    line.write_all(b".").expect("the byte is sent");
}

/// Receives one byte. Returns false if the other end is closed.
pub(crate) fn receive_byte(mut line: &UnixStream) -> bool {
    line.set_read_timeout(Some(PATIENCE)).expect("the timeout is set");
    line.read(&mut [0]).expect("a byte within the timeout") == 1
}

/// Returns whether a process has exited, even if it is not reaped yet.
pub(crate) fn has_exited(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
        }
        Err(_no_such_process) => true,
    }
}
