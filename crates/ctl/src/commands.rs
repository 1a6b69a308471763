//! The commands, carried out.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use actix_daemon::control::protocol::{ControlCommand, ControlEvent};
use daemon_core::Phase;

use crate::board::{self, BoardFile};
use crate::cli::{Cli, Command, Source};
use crate::client::{Client, Happened};
use crate::events::{self, Paint};
use crate::failure::{Code, Failure};
use crate::{manual, status, top};

/// Carries a command out. What it prints goes to standard output.
///
/// # Errors
///
/// [`Failure`], for standard error and the exit code.
pub(crate) fn carry_out(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Status { json, metrics } => {
            let form = match (json, metrics) {
                (true, _) => Form::Json,
                (false, true) => Form::Metrics,
                (false, false) => Form::Table,
            };
            return show(cli, form);
        }
        Command::Peek { verbose } => {
            let text = connect(cli)?.peek(*verbose)?;
            print_lines(&text)?;
        }
        Command::Stop { now } => order(cli, ControlCommand::Stop { now: *now })?,
        Command::Reopen => order(cli, ControlCommand::Reopen)?,
        Command::Reload => order(cli, ControlCommand::Reload)?,
        Command::Resize { to } => order(cli, ControlCommand::Resize { to: *to })?,
        Command::Retire { pid } => order(cli, ControlCommand::Retire { pid: *pid })?,
        Command::Kill { pid } => order(cli, ControlCommand::Kill { pid: *pid })?,
        Command::Pause => order(cli, ControlCommand::Pause)?,
        Command::Resume => order(cli, ControlCommand::Resume)?,
        Command::Trace { pid, json } => {
            let (text, evidence) = connect(cli)?.trace(*pid)?;
            let text = if *json { pretty(&evidence)? } else { text };
            print_lines(&text)?;
        }
        Command::Events { json } => {
            let readers = if *json { Readers::Programs } else { Readers::People };
            tell_events(connect(cli)?, readers)?;
        }
        Command::Top { interval } => {
            return top::run(cli.source(), cli.timeout(), *interval, paint(&io::stdout()));
        }
        Command::Completions { shell } => print(&manual::completions(*shell))?,
        Command::Man { dir: None } => print(&manual::page()?)?,
        Command::Man { dir: Some(dir) } => manual::pages(dir)?,
    }
    Ok(ExitCode::from(Code::Done as u8))
}

/// In which form something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For Prometheus.
    Metrics,
}

/// Who reads events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// They get a line with the time of day.
    People,
    /// They get JSON.
    Programs,
}

fn connect(cli: &Cli) -> Result<Client, Failure> {
    Client::connect(&cli.socket(), cli.timeout())
}

fn order(cli: &Cli, ask: ControlCommand) -> Result<(), Failure> {
    let done = connect(cli)?.order(ask)?;
    print_lines(&done)
}

/// Prints the state. A scoreboard in place of a daemon that does not answer is printed with a note, and
/// the exit code is still that of no answer.
fn show(cli: &Cli, form: Form) -> Result<ExitCode, Failure> {
    let (shown, code) = match cli.source() {
        Source::Socket(socket) => (of_daemon(&socket, cli.timeout(), form)?, Code::Done),
        Source::Board(board) => (of_board(&board, form)?, Code::Done),
        Source::Both { socket, board } => match of_daemon(&socket, cli.timeout(), form) {
            Ok(shown) => (shown, Code::Done),
            Err(silence) if silence.is_silence() && form == Form::Metrics => {
                return Err(Failure::NoCounters(Box::new(silence)));
            }
            Err(silence) if silence.is_silence() => {
                let Ok(shown) = of_board(&board, form) else {
                    return Err(silence);
                };
                let note = format!("daemonctl: {silence}; this is what its scoreboard shows\n");
                // There is nobody to tell if standard error is closed.
                let _ = io::stderr().write_all(note.as_bytes());
                (shown, silence.code())
            }
            Err(failure) => return Err(failure),
        },
    };
    print(shown.as_bytes())?;
    Ok(ExitCode::from(code as u8))
}

fn of_daemon(socket: &Path, timeout: Duration, form: Form) -> Result<String, Failure> {
    let report = Client::connect(socket, timeout)?.status()?;
    match form {
        Form::Table => Ok(status::table(&report)),
        Form::Json => Ok(pretty(&report)? + "\n"),
        Form::Metrics => Ok(status::metrics(&report)),
    }
}

fn of_board(board: &Path, form: Form) -> Result<String, Failure> {
    let picture = BoardFile::at(board).look(board::now())?;
    match form {
        Form::Table => Ok(status::of_picture(&picture)),
        Form::Json => Ok(pretty(&picture)? + "\n"),
        Form::Metrics => Err(Failure::BoardHasNoCounters { board: board.to_owned() }),
    }
}

/// Prints events until the daemon has stopped.
fn tell_events(mut client: Client, readers: Readers) -> Result<(), Failure> {
    client.listen()?;
    let mut phase = None;
    while let Some(happened) = client.event()? {
        if let Happened::Event(ControlEvent::Phase { phase: entered }) = &happened {
            phase = Some(*entered);
        }
        let line = match readers {
            Readers::Programs => events::json(&happened).map_err(no_json)?,
            Readers::People => events::line(&happened, &jiff::Zoned::now(), paint(&io::stdout())),
        };
        print_lines(&line)?;
    }
    match phase {
        // A daemon that stops ends its connections.
        Some(Phase::Stopping | Phase::Stopped) => Ok(()),
        Some(Phase::Starting | Phase::Running) | None => Err(client.closed()),
    }
}

/// Colours are for terminals, and only where <https://no-color.org> is not asked for.
fn paint(out: &impl IsTerminal) -> Paint {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if out.is_terminal() && !unwanted { Paint::Coloured } else { Paint::Plain }
}

fn pretty(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(no_json)
}

fn no_json(error: serde_json::Error) -> Failure {
    Failure::output(error.into())
}

fn print_lines(text: &str) -> Result<(), Failure> {
    let mut lines = text.trim_end_matches('\n').to_owned();
    lines.push('\n');
    print(lines.as_bytes())
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::output)
}
