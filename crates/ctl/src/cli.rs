//! The command line, and the shell completions and man pages that are generated from it.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::error::CtlError;

/// The list of exit codes at the end of the help: a heading, then one line for each code.
const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  the daemon refused the command or could not carry it out, or the output cannot be written
  2  invalid command line
  3  no such child
  4  the daemon is unreachable, its answer is missing or invalid, or the scoreboard cannot be read
  5  permission denied for the socket or the scoreboard file, or by the daemon
  6  the daemon uses another version of the protocol";

/// Monitors and controls a daemon.
///
/// Connects to the daemon's control socket. The daemon sets the path of the socket with
/// `DaemonBuilder::control`. Only root and the daemon's user may connect.
#[derive(Debug, Parser)]
#[command(name = "daemonctl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// The path of the daemon's control socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "DAEMONCTL_SOCKET",
        hide_env_values = true
    )]
    socket: Option<PathBuf>,

    /// The path of the daemon's scoreboard file: `status` and `top` read it if the daemon does not
    /// answer or if no socket is given
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAEMONCTL_BOARD",
        hide_env_values = true
    )]
    board: Option<PathBuf>,

    /// The time limit for an answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,

    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the status of the daemon and its children
    Status {
        /// Print JSON
        #[arg(long, conflicts_with = "metrics")]
        json: bool,
        /// Print OpenMetrics, for Prometheus
        #[arg(long)]
        metrics: bool,
    },
    /// Shows the internal state of the parent, and what delays its shutdown
    Peek {
        /// Include descriptors, threads, tasks and the status
        #[arg(short, long)]
        verbose: bool,
    },
    /// Stops the daemon after its current requests
    Stop {
        /// Stop immediately; current requests are lost
        #[arg(long)]
        now: bool,
    },
    /// Reopens the log files of all processes
    Reopen,
    /// Replaces all children of a pool, a few at a time
    Reload,
    /// Sets the minimum number of spare children of a pool, or the maximum number of children of a
    /// dispatcher or a post-forking daemon
    Resize {
        /// The new number
        #[arg(value_name = "N")]
        to: u32,
    },
    /// Retires a child: it exits after its current request
    Retire {
        /// The pid of the child
        pid: u32,
    },
    /// Kills a child; its current request is lost
    Kill {
        /// The pid of the child
        pid: u32,
    },
    /// Shows what a child is doing
    Trace {
        /// The pid of the child
        pid: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Pauses the daemon: it accepts no requests until `resume`
    Pause,
    /// Resumes accepting requests
    #[command(alias = "continue")]
    Resume,
    /// Prints events as they happen, one per line
    Events {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows a live screen of the scoreboard, the children and their resources
    Top {
        /// The time between two updates
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
        interval: Duration,
    },
    /// Prints the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints the man page of daemonctl
    Man {
        /// Write the man pages of all commands into this directory instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// The source of the status, for commands that can use the socket or the scoreboard file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The control socket.
    Socket(PathBuf),
    /// The scoreboard file.
    Board(PathBuf),
    /// The control socket, or the scoreboard file if the daemon does not answer.
    Both {
        /// The path of the control socket.
        socket: PathBuf,
        /// The path of the scoreboard file.
        board: PathBuf,
    },
}

impl Cli {
    /// Returns the time limit for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the path of the control socket. Exits with a usage error if no socket path is given.
    pub(crate) fn socket(&self) -> PathBuf {
        match (&self.socket, &self.board) {
            (Some(socket), _) => socket.clone(),
            (None, Some(_)) => missing(
                "this command needs the daemon, not only its scoreboard file: give --socket PATH, or \
                 set DAEMONCTL_SOCKET",
            ),
            (None, None) => missing(
                "no daemon is given: use --socket PATH for its control socket, or set \
                 DAEMONCTL_SOCKET",
            ),
        }
    }

    /// Returns the source of the status. Exits with a usage error if no path is given.
    pub(crate) fn source(&self) -> Source {
        match (self.socket.clone(), self.board.clone()) {
            (Some(socket), Some(board)) => Source::Both { socket, board },
            (Some(socket), None) => Source::Socket(socket),
            (None, Some(board)) => Source::Board(board),
            (None, None) => missing(
                "no daemon is given: use --socket PATH or DAEMONCTL_SOCKET for its control socket, or \
                 --board FILE or DAEMONCTL_BOARD for its scoreboard file",
            ),
        }
    }
}

fn missing(message: &str) -> ! {
    Cli::command().error(ErrorKind::MissingRequiredArgument, message).exit()
}

/// Parses a duration in seconds, from 10 ms to one day.
fn seconds(argument: &str) -> Result<Duration, String> {
    let seconds: f64 = argument.parse().map_err(|_| "not a number".to_owned())?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if time < Duration::from_millis(10) || time > Duration::from_secs(86_400) {
        return Err("must be between 0.01 and 86400 seconds".to_owned());
    }
    Ok(time)
}

/// Returns the completion script for a shell.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "daemonctl", &mut script);
    script
}

/// Returns the man page of daemonctl.
///
/// # Errors
///
/// Writing to memory does not fail, so no error is expected.
pub(crate) fn page() -> Result<Vec<u8>, CtlError> {
    let mut page = Vec::new();
    // The page has a section with the exit codes, so they are removed from the end of the help.
    let command = command_for_pages().after_help(Resettable::Reset);
    clap_mangen::Man::new(command).render(&mut page).map_err(CtlError::output)?;
    page.extend_from_slice(ENVIRONMENT.as_bytes());
    page.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    for line in EXIT_CODES.lines().skip(1) {
        let (code, meaning) = line.trim_start().split_once("  ").unwrap_or((line, ""));
        page.extend_from_slice(format!(".TP\n{code}\n{meaning}\n").as_bytes());
    }
    Ok(page)
}

/// Writes the man pages of daemonctl and of all its commands into a directory, which is created if
/// necessary.
///
/// # Errors
///
/// Returns an error if the directory or a page cannot be written.
pub(crate) fn pages(dir: &Path) -> Result<(), CtlError> {
    let first = page()?;
    let write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        clap_mangen::generate_to(command_for_pages(), dir)?;
        fs::write(dir.join("daemonctl.1"), &first)
    };
    write().map_err(|source| CtlError::Write { object: dir.display().to_string(), source })
}

fn command_for_pages() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

const ENVIRONMENT: &str = "\
.SH ENVIRONMENT
.TP
DAEMONCTL_SOCKET
The path of the control socket, if \\fB\\-\\-socket\\fR is not given.
.TP
DAEMONCTL_BOARD
The path of the scoreboard file, if \\fB\\-\\-board\\fR is not given.
.TP
NO_COLOR
Disables colours if the variable is set and not empty.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_seconds_within_limits_and_may_have_a_fraction() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for refused in ["", "soon", "0", "-1", "NaN", "inf", "1e300", "86401"] {
            assert!(seconds(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn continue_is_an_alias_of_resume() {
        let cli = Cli::try_parse_from(["daemonctl", "--socket", "/s", "continue"]).expect("parsed");
        assert!(matches!(cli.command, Command::Resume));
    }

    #[test]
    fn the_help_matches_its_snapshot() {
        let mut command = Cli::command().term_width(100);
        insta::assert_snapshot!("help", command.render_long_help().to_string());
    }
}
