//! Runs the commands, and prints their results.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use daemon_core::Phase;
use daemon_protocol::{ControlCommand, DaemonEvent};

use crate::cli::{self, Cli, Command, Source};
use crate::client::{DaemonClient, ReceivedEvent};
use crate::error::{CtlError, ExitStatus};
use crate::events::{self, ColorMode};
use crate::snapshot::BoardFile;
use crate::top;

/// Runs a command, and prints its result to standard output.
///
/// # Errors
///
/// Returns the error that the caller prints to standard error and converts to the exit code.
pub(crate) fn run(cli: &Cli) -> Result<ExitCode, CtlError> {
    match &cli.command {
        Command::Status { json, metrics } => {
            let format = match (json, metrics) {
                (true, _) => OutputFormat::Json,
                (false, true) => OutputFormat::Metrics,
                (false, false) => OutputFormat::Table,
            };
            return print_status(cli, format);
        }
        Command::Peek { verbose } => {
            let text = connect(cli)?.peek(*verbose)?;
            print_lines(&text)?;
        }
        Command::Stop { now } => execute(cli, ControlCommand::Stop { now: *now })?,
        Command::Reopen => execute(cli, ControlCommand::Reopen)?,
        Command::Reload => execute(cli, ControlCommand::Reload)?,
        Command::Resize { to } => execute(cli, ControlCommand::Resize { to: *to })?,
        Command::Retire { pid } => execute(cli, ControlCommand::Retire { pid: *pid })?,
        Command::Kill { pid } => execute(cli, ControlCommand::Kill { pid: *pid })?,
        Command::Pause => execute(cli, ControlCommand::Pause)?,
        Command::Resume => execute(cli, ControlCommand::Resume)?,
        Command::Trace { pid, json } => {
            let (text, evidence) = connect(cli)?.trace(*pid)?;
            let text = if *json { pretty(&evidence)? } else { text };
            print_lines(&text)?;
        }
        Command::Events { json } => {
            print_events(connect(cli)?, *json)?;
        }
        Command::Top { interval } => {
            return top::run(cli.source(), cli.timeout(), *interval, color_mode(&io::stdout()));
        }
        Command::Completions { shell } => print(&cli::completions(*shell))?,
        Command::Man { dir: None } => print(&cli::page()?)?,
        Command::Man { dir: Some(dir) } => cli::pages(dir)?,
    }
    Ok(ExitCode::from(ExitStatus::Success as u8))
}

/// The format of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputFormat {
    Table,
    Json,
    /// OpenMetrics, for Prometheus.
    Metrics,
}

fn connect(cli: &Cli) -> Result<DaemonClient, CtlError> {
    DaemonClient::connect(&cli.socket(), cli.timeout())
}

fn execute(cli: &Cli, command: ControlCommand) -> Result<(), CtlError> {
    let done = connect(cli)?.execute(command)?;
    print_lines(&done)
}

/// Prints the status. If the daemon is unavailable but its scoreboard file can be read, prints the
/// scoreboard and a note instead, and returns the exit code for an unavailable daemon.
fn print_status(cli: &Cli, format: OutputFormat) -> Result<ExitCode, CtlError> {
    let (shown, code) = match cli.source() {
        Source::Socket(socket) => {
            (daemon_status(&socket, cli.timeout(), format)?, ExitStatus::Success)
        }
        Source::Board(board) => (board_status(&board, format)?, ExitStatus::Success),
        Source::Both { socket, board } => match daemon_status(&socket, cli.timeout(), format) {
            Ok(shown) => (shown, ExitStatus::Success),
            Err(error) if error.is_daemon_unavailable() && format == OutputFormat::Metrics => {
                return Err(CtlError::MetricsUnavailable(Box::new(error)));
            }
            Err(error) if error.is_daemon_unavailable() => {
                let Ok(shown) = board_status(&board, format) else {
                    return Err(error);
                };
                let note =
                    format!("daemonctl: {error}\ndaemonctl: showing the scoreboard file instead\n");
                // The note is lost if standard error is closed.
                let _ = io::stderr().write_all(note.as_bytes());
                (shown, error.exit_status())
            }
            Err(error) => return Err(error),
        },
    };
    print(shown.as_bytes())?;
    Ok(ExitCode::from(code as u8))
}

fn daemon_status(
    socket: &Path,
    timeout: Duration,
    format: OutputFormat,
) -> Result<String, CtlError> {
    let report = DaemonClient::connect(socket, timeout)?.status()?;
    match format {
        OutputFormat::Table => Ok(report.table().to_string()),
        OutputFormat::Json => Ok(pretty(&report)? + "\n"),
        OutputFormat::Metrics => Ok(report.open_metrics()),
    }
}

fn board_status(board: &Path, format: OutputFormat) -> Result<String, CtlError> {
    let snapshot = BoardFile::new(board).read(daemon_sys::clock::now())?;
    match format {
        OutputFormat::Table => Ok(snapshot.table()),
        OutputFormat::Json => Ok(pretty(&snapshot)? + "\n"),
        OutputFormat::Metrics => Err(CtlError::BoardHasNoMetrics { board: board.to_owned() }),
    }
}

/// Prints events until the daemon has stopped, as lines of JSON, or as lines of text with the time
/// of day.
fn print_events(mut client: DaemonClient, json: bool) -> Result<(), CtlError> {
    client.subscribe()?;
    let mut phase = None;
    while let Some(event) = client.event()? {
        if let ReceivedEvent::Known(DaemonEvent::Phase { phase: entered }) = &event {
            phase = Some(*entered);
        }
        let line = if json {
            events::json(&event).map_err(json_error)?
        } else {
            events::line(&event, &jiff::Zoned::now(), color_mode(&io::stdout()))
        };
        print_lines(&line)?;
    }
    match phase {
        // A daemon that stops closes its connections, so the end of the events is not an error.
        Some(Phase::Stopping | Phase::Stopped) => Ok(()),
        Some(Phase::Starting | Phase::Running) | None => Err(client.closed()),
    }
}

/// Returns the colour mode: colours on a terminal, unless `NO_COLOR` is set and not empty
/// (<https://no-color.org>).
fn color_mode(out: &impl IsTerminal) -> ColorMode {
    let is_disabled = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if out.is_terminal() && !is_disabled { ColorMode::Color } else { ColorMode::Plain }
}

fn pretty(value: &impl serde::Serialize) -> Result<String, CtlError> {
    serde_json::to_string_pretty(value).map_err(json_error)
}

fn json_error(error: serde_json::Error) -> CtlError {
    CtlError::output(error.into())
}

fn print_lines(text: &str) -> Result<(), CtlError> {
    let mut lines = text.trim_end_matches('\n').to_owned();
    lines.push('\n');
    print(lines.as_bytes())
}

fn print(bytes: &[u8]) -> Result<(), CtlError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(CtlError::output)
}
