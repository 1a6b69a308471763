//! How a fork server is founded: its settings, the fork that makes it, and the first word from it.

use std::error::Error;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use daemon_core::{Line, Scoreboard, lines_for};
use daemon_sys::fork::{ForkResult, flush_c_streams, fork};
use daemon_sys::process::{self, Pid, Signal};
use daemon_sys::signals::{SignalBlockGuard, SignalQueue, block_all, ignore, restore_default};
use daemon_sys::title::Title;
use daemon_sys::wakeup::Wakeup;
use daemon_sys::{link, shared};

use crate::child_program::{ChildProgram, ParentWakeup, SlotResources, now};
use crate::fork_server::{ForkServer, ForkServerError};
use crate::protocol::Report;
use crate::server_loop::{LoopExit, ServerLoop};
use crate::wire::Wire;

/// Exit code of a fork server or child that could not do what it is for, as `EX_SOFTWARE` of
/// sysexits(3).
pub const EXIT_SOFTWARE: i32 = 70;
/// Exit code of a fork server or child that panicked, as Rust's own.
pub const EXIT_PANIC: i32 = 101;

/// The settings of a fork server, before there is one.
///
/// # Examples
///
/// See the [crate's front page](crate).
#[derive(Debug, Clone)]
pub struct ForkServerBuilder {
    slots: u32,
    board_file: Option<PathBuf>,
    request_limit: usize,
    settings: ServerSettings,
}

/// What the fork server's own process needs to know.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    pub(crate) grace: Duration,
    pub(crate) title: Option<(Rc<Title>, String)>,
    pub(crate) fork_server: Pid,
}

impl ForkServerBuilder {
    /// Plans a fork server for at most this many children at a time.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        ForkServerBuilder {
            slots,
            board_file: None,
            request_limit: 64 * 1024 * 1024,
            settings: ServerSettings {
                grace: Duration::from_secs(30),
                title: None,
                fork_server: Pid::this(),
            },
        }
    }

    /// Sets how long children have between TERM and KILL when the fork server goes home or the parent
    /// is gone. 30 seconds by default.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Sets the size in bytes of the largest request, without its descriptors. 64 MiB by default.
    #[must_use]
    pub fn request_limit(mut self, bytes: usize) -> Self {
        self.request_limit = bytes;
        self
    }

    /// Keeps the scoreboard in this file, where other programs can read it while the daemon runs
    /// and after it is gone. By default it is in memory and leaves no trace.
    #[must_use]
    pub fn board_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.board_file = Some(path.into());
        self
    }

    /// Shows this text as the fork server's title in ps(1).
    #[must_use]
    pub fn title(mut self, title: Rc<Title>, text: impl Into<String>) -> Self {
        self.settings.title = Some((title, text.into()));
        self
    }

    /// Forks the fork server, and returns in the parent with its handle and the parent's copy of the
    /// brood.
    ///
    /// In the fork server and in its children this call does not return: they end in it.
    ///
    /// # Errors
    ///
    /// - [`ForkServerError::System`] with [`OtherThreads`](daemon_sys::Error::OtherThreads) when this process
    ///   has other threads: fork first, start threads and runtimes later.
    /// - [`ForkServerError::PreloadFailed`] when the brood's preload step did.
    /// - [`ForkServerError::Board`] when the number of children is zero or too large.
    pub fn spawn<B: ChildProgram>(
        mut self,
        program: B,
    ) -> Result<(ForkServer<B::Request>, B), ForkServerError> {
        let lines = lines_for(self.slots)?;
        let lines: &'static [Line] = match &self.board_file {
            None => shared::anonymous(lines)?,
            Some(path) => shared::in_file(path, lines)?,
        };
        let scoreboard = Scoreboard::format(lines, self.slots, now())?;
        let wakeup = Wakeup::new()?;
        let (near, far) = link::pair()?;
        flush_streams();
        let mask = block_all()?;
        match fork()? {
            ForkResult::Parent(pid) => {
                drop(far);
                drop(mask);
                let wire = Wire::new(near);
                ForkServer::new(pid, wire, scoreboard, wakeup, self.request_limit)
                    .wait_until_ready()
                    .map(|fork_server| (fork_server, program))
            }
            ForkResult::Child => {
                drop(near);
                self.settings.fork_server = Pid::this();
                let resources =
                    SlotResources { board: scoreboard.board(), wakeup: ParentWakeup { wakeup } };
                let life = AssertUnwindSafe(|| {
                    run_fork_server(self.settings, program, resources, Wire::new(far), mask)
                });
                let code = catch_unwind(life).unwrap_or(EXIT_PANIC);
                // Exit handlers that were registered before the fork are the parent's to run.
                flush_streams();
                process::exit_now(code)
            }
        }
    }
}

/// Leads a process group of its own, in which no terminal stops anybody: a process in the background
/// that writes to a terminal may be stopped by TTOU otherwise. Children inherit both.
fn detach_from_terminal() -> Result<(), daemon_sys::Error> {
    process::become_group_leader()?;
    ignore(Signal::Ttin)?;
    ignore(Signal::Ttou)
}

/// What is still in a buffer would be written twice, by both processes.
fn flush_streams() {
    // What cannot be written now is written when the process ends, or is lost as it would be then.
    let _ = std::io::stdout().flush();
    flush_c_streams();
}

/// The life of the fork server, and from a fork on of each child. Returns the exit code.
fn run_fork_server<B: ChildProgram>(
    settings: ServerSettings,
    mut program: B,
    resources: SlotResources,
    mut wire: Wire<Report, crate::protocol::ForkServerCommand>,
    mask: SignalBlockGuard,
) -> i32 {
    let fork_server = detach_from_terminal()
        .map_err(Box::<dyn Error>::from)
        .and_then(|()| program.preload())
        // Where it is ignored, children end unseen: a library may have meant well.
        .and_then(|()| Ok(restore_default(Signal::Child)?))
        .and_then(|()| Ok(SignalQueue::new(&[Signal::Child])?));
    let child_exits = match fork_server {
        Ok(child_exits) => child_exits,
        Err(error) => {
            // The parent waits for one of two words, and reads the end of the link as a third.
            let _ = wire.queue(&Report::PreloadFailed { error: error.to_string() });
            let _ = wire.flush();
            return EXIT_SOFTWARE;
        }
    };
    if let Some((title, text)) = &settings.title {
        title.set(text);
    }
    match ServerLoop::new(settings, program, resources, wire, child_exits, mask).run() {
        Ok(LoopExit::Finished) => 0,
        Ok(LoopExit::Child(program, start)) => program.run_child(start),
        Err(_unborn) => EXIT_SOFTWARE,
    }
}
