//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// The part of the help that scripts need: a code a line, after the first.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the daemon refused, or could not
  2  the command line makes no sense
  3  there is no such child
  4  no daemon: no socket, nobody listens, connection lost, no answer in time, or a senseless one
  5  not permitted: the socket, the file or the daemon says so
  6  the daemon speaks another version";

/// Looks at a daemon, and tells it what to do.
///
/// The daemon answers on its control socket, `Builder::control` in the program. Only its own user and
/// root may ask.
#[derive(Debug, Parser)]
#[command(name = "daemonctl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// The daemon's control socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "DAEMONCTL_SOCKET",
        hide_env_values = true
    )]
    socket: Option<PathBuf>,

    /// The daemon's scoreboard in a file: `status` and `top` read it where the daemon does not answer
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAEMONCTL_BOARD",
        hide_env_values = true
    )]
    board: Option<PathBuf>,

    /// How long an answer may take
    #[arg(long, global = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the daemon's state and its children
    Status {
        /// As JSON, for programs
        #[arg(long, conflicts_with = "metrics")]
        json: bool,
        /// As OpenMetrics, for Prometheus and its kind
        #[arg(long)]
        metrics: bool,
    },
    /// Shows the inside of the parent, and what keeps it from leaving
    Peek {
        /// With descriptors, threads and sessions
        #[arg(short, long)]
        verbose: bool,
    },
    /// Stops the daemon: requests in hand are finished
    Stop {
        /// At once: requests in hand are lost
        #[arg(long)]
        now: bool,
    },
    /// Has all processes reopen their logs
    Reopen,
    /// Replaces all children of a pool, a few at a time
    Reload,
    /// Changes the number of children: the spare ones of a pool, or the most of a post-forking daemon
    Resize {
        /// So many
        #[arg(value_name = "N")]
        to: u32,
    },
    /// Has a child leave after the request in hand
    Retire {
        /// The child's process
        pid: u32,
    },
    /// Kills a child: its request is lost
    Kill {
        /// The child's process
        pid: u32,
    },
    /// Shows what a child is doing
    Trace {
        /// The child's process
        pid: u32,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Takes no more requests, until `resume`
    Pause,
    /// Takes requests again
    #[command(alias = "continue")]
    Resume,
    /// Shows what happens, a line each, as it happens
    Events {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// A live screen: the board, the children, what they use
    Top {
        /// The time between two looks
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
        interval: Duration,
    },
    /// Prints the completions of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Prints the manual page of daemonctl
    Man {
        /// Writes the pages of all commands into this directory instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Where a command that can use either finds the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// It answers.
    Socket(PathBuf),
    /// Only its scoreboard can be read.
    Board(PathBuf),
    /// It answers; if not, its scoreboard can be read.
    Both {
        /// Where it answers.
        socket: PathBuf,
        /// Where its scoreboard is.
        board: PathBuf,
    },
}

impl Cli {
    /// How long an answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where the daemon answers; without it the process ends here, with a usage error.
    pub(crate) fn socket(&self) -> PathBuf {
        match (&self.socket, &self.board) {
            (Some(socket), _) => socket.clone(),
            (None, Some(_)) => missing(
                "this command needs the daemon itself, a scoreboard in a file cannot answer: give \
                 --socket PATH, or set DAEMONCTL_SOCKET",
            ),
            (None, None) => missing(
                "no daemon is named: give the path of its control socket by --socket PATH, or set \
                 DAEMONCTL_SOCKET",
            ),
        }
    }

    /// Where the daemon can be looked at; without either the process ends here, with a usage error.
    pub(crate) fn source(&self) -> Source {
        match (self.socket.clone(), self.board.clone()) {
            (Some(socket), Some(board)) => Source::Both { socket, board },
            (Some(socket), None) => Source::Socket(socket),
            (None, Some(board)) => Source::Board(board),
            (None, None) => missing(
                "no daemon is named: give the path of its control socket by --socket PATH or \
                 DAEMONCTL_SOCKET, or that of its scoreboard by --board FILE or DAEMONCTL_BOARD",
            ),
        }
    }
}

fn missing(what: &str) -> ! {
    Cli::command().error(ErrorKind::MissingRequiredArgument, what).exit()
}

/// A time that can be waited for: more than nothing, at most a day.
fn seconds(argument: &str) -> Result<Duration, String> {
    let seconds: f64 = argument.parse().map_err(|_| "it is no number".to_owned())?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if time < Duration::from_millis(10) || time > Duration::from_secs(86_400) {
        return Err("it is 0.01 to 86400 seconds".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_seconds_with_a_fraction_and_neither_nothing_nor_endless() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for refused in ["", "soon", "0", "-1", "NaN", "inf", "1e300", "86401"] {
            assert!(seconds(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn to_continue_is_to_resume() {
        let cli = Cli::try_parse_from(["daemonctl", "--socket", "/s", "continue"]).expect("parsed");
        assert!(matches!(cli.command, Command::Resume));
    }

    #[test]
    fn the_help_is_as_it_was() {
        let mut command = Cli::command().term_width(100);
        insta::assert_snapshot!("help", command.render_long_help().to_string());
    }
}
