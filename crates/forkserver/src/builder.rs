//! The settings of a fork server, and `spawn`, which forks it.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use daemon_core::{Descendants, HEADER_LINES, Scoreboard, ScoreboardLine, lines_for};
use daemon_sys::clock::now;
use daemon_sys::fork::{ForkResult, flush_streams, fork};
use daemon_sys::link;
use daemon_sys::process::{self, Signal, this_pid};
use daemon_sys::reap::adopt_descendants;
use daemon_sys::shared::SharedMemory;
use daemon_sys::signals::{
    SignalBlockGuard, SignalQueue, block_all, disregard, ignore, keep_exits, restore_default,
};
use daemon_sys::title::Title;
use daemon_sys::wakeup::Wakeup;

use crate::channel::Channel;
use crate::child_program::{
    ChildProgram, EXIT_PANIC, EXIT_SOFTWARE, ParentWakeup, ServerSettings, SlotResources,
};
use crate::fork_server::{ForkServer, ForkServerError};
use crate::protocol::{PARENT_LIMITS, Report, SERVER_LIMITS};
use crate::server_loop::{LoopExit, ServerLoop};

/// Settings of a fork server.
///
/// # Examples
///
/// See the [crate's front page](crate).
#[derive(Debug, Clone)]
pub struct ForkServerBuilder {
    slots: u32,
    board_file: Option<PathBuf>,
    request_limit: usize,
    stop_signals: Vec<Signal>,
    settings: ServerSettings,
}

impl ForkServerBuilder {
    /// Creates settings for a fork server with at most this many children at a time.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        ForkServerBuilder {
            slots,
            board_file: None,
            request_limit: 64 * 1024 * 1024,
            stop_signals: Vec::new(),
            settings: ServerSettings {
                grace: Duration::from_secs(30),
                descendants: Descendants::default(),
                title: None,
                fork_server: this_pid(),
            },
        }
    }

    /// Sets the time between TERM and KILL for children that are left when the parent has exited,
    /// and for what they have started. Default: 30 seconds.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Sets what happens to processes that children have started. By default they end with the fork
    /// server, see [`Descendants`].
    #[must_use]
    pub fn descendants(mut self, descendants: Descendants) -> Self {
        self.settings.descendants = descendants;
        self
    }

    /// Sets the size in bytes of the largest request, without its descriptors. Default: 64 MiB.
    #[must_use]
    pub fn request_limit(mut self, bytes: usize) -> Self {
        self.request_limit = bytes;
        self
    }

    /// Keeps the scoreboard in this file, which other programs can read while the daemon runs and
    /// afterwards. By default the scoreboard is in memory only.
    #[must_use]
    pub fn board_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.board_file = Some(path.into());
        self
    }

    /// Sets the signals that end the wait for the preload step. They must be blocked in this
    /// process. The fork server and the processes of its group are then killed, and
    /// [`spawn`](Self::spawn) fails with [`ForkServerError::Interrupted`]. Default: none.
    #[must_use]
    pub fn stop_signals(mut self, signals: &[Signal]) -> Self {
        self.stop_signals = signals.to_vec();
        self
    }

    /// Sets the process title that ps(1) shows for the fork server.
    #[must_use]
    pub fn title(mut self, title: Rc<Title>, text: impl Into<String>) -> Self {
        self.settings.title = Some((title, text.into()));
        self
    }

    /// Forks the fork server, and returns its handle and the parent's copy of the program.
    ///
    /// The call returns in the parent only: the fork server and its children exit inside the call.
    /// The fork server blocks all signals. In a child no signal is blocked after
    /// [`BlockedSignals::release`](crate::BlockedSignals::release). If this process ignores
    /// `SIGCHLD`, its default action is restored.
    ///
    /// # Errors
    ///
    /// - [`ForkServerError::System`] with [`OtherThreads`](daemon_sys::Error::OtherThreads) if this
    ///   process has other threads: spawn the fork server first, and start threads and runtimes
    ///   later.
    /// - [`ForkServerError::PreloadFailed`] if the program's preload step failed.
    /// - [`ForkServerError::Lost`] if the fork server ended before it was ready, for example
    ///   because the preload step panicked.
    /// - [`ForkServerError::Interrupted`] if one of the
    ///   [stop signals](ForkServerBuilder::stop_signals) arrived before the preload step had ended.
    /// - [`ForkServerError::Board`] if the number of slots is zero or too large.
    pub fn spawn<B: ChildProgram>(
        mut self,
        program: B,
    ) -> Result<(ForkServer<B::Request>, B), ForkServerError> {
        let lines = lines_for(self.slots)?;
        let memory: SharedMemory<ScoreboardLine> = match &self.board_file {
            None => SharedMemory::anonymous(lines)?,
            Some(path) => SharedMemory::in_file(path, lines)?,
        };
        let scoreboard = Scoreboard::format(memory.values(), self.slots, now())?;
        let wakeup = Wakeup::new()?;
        let (near, far) = link::pair()?;
        flush_streams();
        keep_exits();
        let mut mask = block_all()?;
        match fork()? {
            ForkResult::Parent(pid) => {
                drop((far, mask));
                let channel = Channel::new(near, PARENT_LIMITS);
                ForkServer::new(pid, channel, scoreboard, memory, wakeup, self.request_limit)
                    .wait_until_ready(&self.stop_signals)
                    .map(|fork_server| (fork_server, program))
            }
            ForkResult::Child => {
                drop(near);
                mask.unblock_all_on_drop();
                self.settings.fork_server = this_pid();
                let wakeup = ParentWakeup { waker: wakeup.into_waker() };
                let resources = SlotResources { board: scoreboard.reader(), wakeup };
                let channel = Channel::new(far, SERVER_LIMITS);
                let run = AssertUnwindSafe(|| {
                    run_fork_server(self.settings, program, memory, resources, channel, mask)
                });
                let code = catch_unwind(run).unwrap_or(EXIT_PANIC);
                // `exit_now` does not run exit handlers: those that were registered before the fork
                // must run in the parent only. `exit_now` does not flush the streams either.
                flush_streams();
                process::exit_now(code)
            }
        }
    }
}

/// Makes this process the leader of a new process group, and ignores TTIN and TTOU. The terminal
/// sends these signals to stop a background process that reads from it or writes to it. They
/// are ignored and not handled, because after a handler the system would restart the call, which
/// would fail again without end. TSTP has no effect. Children
/// inherit the actions of the signals, and lead groups of their own.
fn detach_from_terminal() -> Result<(), daemon_sys::Error> {
    process::become_group_leader()?;
    ignore(Signal::Ttin)?;
    ignore(Signal::Ttou)?;
    disregard(Signal::Tstp)
}

/// Runs the fork server and, in each process that it forks, the child. Returns the exit code of the
/// process.
fn run_fork_server<B: ChildProgram>(
    settings: ServerSettings,
    mut program: B,
    memory: SharedMemory<ScoreboardLine>,
    resources: SlotResources,
    mut channel: Channel<OwnedFd>,
    mask: SignalBlockGuard,
) -> i32 {
    let prepared = detach_from_terminal()
        .and_then(|()| match settings.descendants.are_ended() {
            true => adopt_descendants().map(drop),
            false => Ok(()),
        })
        .and_then(|()| memory.make_read_only(HEADER_LINES))
        .map_err(Box::<dyn Error>::from)
        .and_then(|()| program.preload())
        // `preload` may call a library that sets CHLD to be ignored. Without the next call, the
        // exits of children would then go unnoticed.
        .and_then(|()| Ok(restore_default(Signal::Child)?))
        .and_then(|()| Ok(SignalQueue::new(&[Signal::Child])?));
    drop(memory);
    let child_exits = match prepared {
        Ok(child_exits) => child_exits,
        Err(error) => {
            // If the report cannot be sent, the parent detects instead that the link is closed.
            let report = Report::PreloadFailed { error: error.to_string() };
            let _ = channel.send(&report, &[], &[]);
            return EXIT_SOFTWARE;
        }
    };
    if let Some((title, text)) = &settings.title {
        title.set(text);
    }
    match ServerLoop::new(settings, program, resources, channel, child_exits, mask).run() {
        Ok(LoopExit::Finished) => 0,
        Ok(LoopExit::Child(program, start)) => program.run_child(start),
        Err(_start_error) => EXIT_SOFTWARE,
    }
}
