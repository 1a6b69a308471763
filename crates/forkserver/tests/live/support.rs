//! What scenarios ask for: a brood that is one closure, and a fork server whose events come one by one.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use daemon_forkserver::core::{Entry, Exit};
use daemon_forkserver::sys::fork::{ForkResult, fork};
use daemon_forkserver::sys::process::{Pid, Signal, exit_now};
use daemon_forkserver::{
    ChildId, ChildProgram, ChildStart, ForkServer, ForkServerBuilder, ForkServerEvent, Transfer,
};

use crate::scenarios::eventually;

/// How long a scenario waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// A short grace, for fork servers that a scenario ends.
pub(crate) const GRACE: Duration = Duration::from_millis(300);

/// Children whose life is a closure.
pub(crate) struct ClosureProgram<R, F> {
    run: F,
    request: PhantomData<fn(R)>,
}

/// Makes a brood of a closure, which each child has a copy of.
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

/// A fork server, and those of its events that nobody has asked for yet.
pub(crate) struct TestServer<R> {
    pub(crate) fork_server: ForkServer<R>,
    events: VecDeque<ForkServerEvent<R>>,
}

impl<R: Transfer> TestServer<R> {
    /// Founds a fork server for so many children, without keeping a copy of the brood.
    pub(crate) fn of<B: ChildProgram<Request = R>>(slots: u32, program: B) -> Self {
        TestServer::spawn(ForkServerBuilder::new(slots).grace(GRACE), program)
    }

    pub(crate) fn spawn<B: ChildProgram<Request = R>>(
        builder: ForkServerBuilder,
        program: B,
    ) -> Self {
        let (fork_server, _brood) = builder.spawn(program).expect("founded");
        TestServer { fork_server, events: VecDeque::new() }
    }

    pub(crate) fn fork(&mut self, request: R) -> ChildId {
        match self.fork_server.fork(request) {
            Ok(child) => child,
            Err(fork_error) => panic!("{}", fork_error.reason),
        }
    }

    /// The next event, whatever it is.
    pub(crate) fn next(&mut self) -> ForkServerEvent<R> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            assert!(Instant::now() < deadline, "no event within {PATIENCE:?}");
            self.events.extend(self.fork_server.wait(Some(PATIENCE)).expect("it is there"));
        }
    }

    pub(crate) fn born(&mut self) -> (ChildId, Pid) {
        match self.next() {
            ForkServerEvent::Born { child, pid } => (child, pid),
            _ => panic!("no birth"),
        }
    }

    pub(crate) fn gone(&mut self) -> (ChildId, Exit, Entry) {
        match self.next() {
            ForkServerEvent::Exited { child, exit, last, .. } => (child, exit, last),
            _ => panic!("no end"),
        }
    }

    /// A child that is born and gone: how it ended.
    pub(crate) fn exit_of_next_child(&mut self) -> Exit {
        let (child, _pid) = self.born();
        let (gone, exit, _last) = self.gone();
        assert_eq!(gone, child);
        exit
    }

    /// Waits for the end of the link, and for that of the fork server; answers how it ended.
    pub(crate) fn lost(&mut self) -> Exit {
        let deadline = Instant::now() + PATIENCE;
        while self.fork_server.wait(Some(PATIENCE)).is_ok() {
            assert!(Instant::now() < deadline, "the link does not end");
        }
        let mut exit = None;
        eventually("the fork server is gone", || {
            exit = self.fork_server.reap().expect("ours");
            exit.is_some()
        });
        exit.expect("just seen")
    }

    /// Sends the fork server home, with all who are still there.
    pub(crate) fn shut_down(mut self) {
        self.fork_server.shut_down().expect("it is there");
        assert_eq!(self.lost(), Exit::Code(0));
    }
}

pub(crate) const fn killed_by(signal: i32) -> Exit {
    Exit::Signal { number: signal, core: false }
}

/// The exit by this signal.
pub(crate) fn exit_by(signal: Signal) -> Exit {
    killed_by(signal.number())
}

/// Waits until a signal ends this process; after a minute it ends by itself, so that a scenario that
/// fails leaves nobody behind.
pub(crate) fn sleep_until_killed() -> ! {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_secs(60));
    }
    exit_now(99)
}

/// Forks a process that runs the closure: a program of its own, for scenarios in which one is killed.
pub(crate) fn run_in_process(run: impl FnOnce()) -> Pid {
    match fork().expect("forks") {
        ForkResult::Parent(pid) => pid,
        ForkResult::Child => {
            exit_now(catch_unwind(AssertUnwindSafe(run)).map_or(101, |()| 0));
        }
    }
}

/// Says one byte.
pub(crate) fn send_byte(mut line: &UnixStream) {
    line.write_all(b".").expect("said");
}

/// Hears one byte, or that the other end is closed.
pub(crate) fn receive_byte(mut line: &UnixStream) -> bool {
    line.set_read_timeout(Some(PATIENCE)).expect("set");
    line.read(&mut [0]).expect("within the time") == 1
}

/// Whether a process is gone, or a zombie that its parent has not reaped.
pub(crate) fn has_exited(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
        }
        Err(_no_such_process) => true,
    }
}
