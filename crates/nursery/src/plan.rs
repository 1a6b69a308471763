//! How a nursery is founded: its settings, the fork that makes it, and the first word from it.

use std::error::Error;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use daemon_core::{Line, Scoreboard, lines_for};
use daemon_sys::bell::Bell;
use daemon_sys::fork::{Fork, flush_c_streams, fork};
use daemon_sys::process::{self, Pid, Signal};
use daemon_sys::signals::{Blocked, SignalQueue, block_all, ignore, restore_default};
use daemon_sys::title::Title;
use daemon_sys::{link, shared};

use crate::brood::{Brood, Cradle, Doorbell, now};
use crate::keeper::{Ended, Keeper};
use crate::nursery::{Nursery, NurseryError};
use crate::orders::Report;
use crate::wire::Wire;

/// Exit code of a nursery or child that could not do what it is for, as `EX_SOFTWARE` of
/// sysexits(3).
pub const EXIT_SOFTWARE: i32 = 70;
/// Exit code of a nursery or child that panicked, as Rust's own.
pub const EXIT_PANIC: i32 = 101;

/// The settings of a nursery, before there is one.
///
/// # Examples
///
/// See the [crate's front page](crate).
#[derive(Debug, Clone)]
pub struct Plan {
    slots: u32,
    board_file: Option<PathBuf>,
    request_limit: usize,
    settings: Settings,
}

/// What the nursery's own process needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) grace: Duration,
    pub(crate) title: Option<(Rc<Title>, String)>,
    pub(crate) nursery: Pid,
}

impl Plan {
    /// Plans a nursery for at most this many children at a time.
    #[must_use]
    pub fn for_children(slots: u32) -> Self {
        Plan {
            slots,
            board_file: None,
            request_limit: 64 * 1024 * 1024,
            settings: Settings {
                grace: Duration::from_secs(30),
                title: None,
                nursery: Pid::this(),
            },
        }
    }

    /// Sets how long children have between TERM and KILL when the nursery goes home or the parent
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

    /// Shows this text as the nursery's title in ps(1).
    #[must_use]
    pub fn title(mut self, title: Rc<Title>, text: impl Into<String>) -> Self {
        self.settings.title = Some((title, text.into()));
        self
    }

    /// Forks the nursery, and returns in the parent with its handle and the parent's copy of the
    /// brood.
    ///
    /// In the nursery and in its children this call does not return: they end in it.
    ///
    /// # Errors
    ///
    /// - [`NurseryError::System`] with [`Company`](daemon_sys::Error::Company) when this process
    ///   has other threads: fork first, start threads and runtimes later.
    /// - [`NurseryError::PreloadFailed`] when the brood's preload step did.
    /// - [`NurseryError::Board`] when the number of children is zero or too large.
    pub fn found<B: Brood>(mut self, brood: B) -> Result<(Nursery<B::Request>, B), NurseryError> {
        let lines = lines_for(self.slots)?;
        let lines: &'static [Line] = match &self.board_file {
            None => shared::anonymous(lines)?,
            Some(path) => shared::in_file(path, lines)?,
        };
        let scoreboard = Scoreboard::format(lines, self.slots, now())?;
        let bell = Bell::new()?;
        let (near, far) = link::pair()?;
        flush_streams();
        let mask = block_all()?;
        match fork()? {
            Fork::Parent(pid) => {
                drop(far);
                drop(mask);
                let wire = Wire::new(near);
                Nursery::new(pid, wire, scoreboard, bell, self.request_limit)
                    .when_ready()
                    .map(|nursery| (nursery, brood))
            }
            Fork::Child => {
                drop(near);
                self.settings.nursery = Pid::this();
                let cradle = Cradle { board: scoreboard.board(), doorbell: Doorbell { bell } };
                let life =
                    AssertUnwindSafe(|| inside(self.settings, brood, cradle, Wire::new(far), mask));
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
fn leave_the_terminal() -> Result<(), daemon_sys::Error> {
    process::lead_own_group()?;
    ignore(Signal::Ttin)?;
    ignore(Signal::Ttou)
}

/// What is still in a buffer would be written twice, by both processes.
fn flush_streams() {
    // What cannot be written now is written when the process ends, or is lost as it would be then.
    let _ = std::io::stdout().flush();
    flush_c_streams();
}

/// The life of the nursery, and from a fork on of each child. Returns the exit code.
fn inside<B: Brood>(
    settings: Settings,
    mut brood: B,
    cradle: Cradle,
    mut wire: Wire<Report, crate::orders::Order>,
    mask: Blocked,
) -> i32 {
    let nursery = leave_the_terminal()
        .map_err(Box::<dyn Error>::from)
        .and_then(|()| brood.preload())
        // Where it is ignored, children end unseen: a library may have meant well.
        .and_then(|()| Ok(restore_default(Signal::Child)?))
        .and_then(|()| Ok(SignalQueue::of(&[Signal::Child])?));
    let deaths = match nursery {
        Ok(deaths) => deaths,
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
    match Keeper::new(settings, brood, cradle, wire, deaths, mask).keep() {
        Ok(Ended::Home) => 0,
        Ok(Ended::Born(brood, birth)) => brood.live(birth),
        Err(_unborn) => EXIT_SOFTWARE,
    }
}
