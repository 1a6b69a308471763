//! The live screen: the terminal, and the threads that wait for events.
//!
//! Separate threads read the keys, the signals, the daemon's answers and the scoreboard file. All
//! of them send events to one channel. The main thread receives the events and updates the screen.

mod columns;
#[cfg(test)]
pub(crate) mod fixtures;
mod rates;
pub(crate) mod screen;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use daemon_protocol::{ControlCommand, Report};
use daemon_sys::Signal;
use daemon_sys::clock::now;
use daemon_sys::poll::{self, Interest};
use daemon_sys::process::{self, number_of, this_pid};
use daemon_sys::signals::SignalQueue;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, enable_raw_mode};
use ratatui::{DefaultTerminal, Terminal};

use self::screen::{ChildCommand, CommandResult, Screen, ScreenRequest, SourceKind};
use crate::cli::Source;
use crate::client::DaemonClient;
use crate::error::{CtlError, ExitStatus};
use crate::events::ColorMode;
use crate::snapshot::{BoardFile, Snapshot};

/// The screen is redrawn after this time without an event, to update the durations on the screen.
const TICK: Duration = Duration::from_secs(1);

/// The signals that end the live screen: those that would end the process without restoring the
/// terminal.
const END_SIGNALS: [Signal; 7] = [
    Signal::Term,
    Signal::Hup,
    Signal::Int,
    Signal::Quit,
    Signal::Usr1,
    Signal::Usr2,
    Signal::Alarm,
];

/// An event for the screen.
enum ScreenEvent {
    Report(Box<Report>),
    Board(Box<Snapshot>),
    Disconnected(String),
    CommandFinished(CommandResult),
    Key(KeyEvent),
    /// The terminal was resized.
    Resized,
    Signal(Signal),
    /// The terminal cannot be read.
    InputFailed(io::Error),
    /// A thread has panicked. The panic hook has restored the terminal.
    ThreadPanicked,
}

/// The first data, read before the screen is shown.
enum InitialData {
    Report(Box<Report>),
    Board(Box<Snapshot>, Option<CtlError>),
}

/// Shows the screen until the user quits or a signal ends it.
///
/// # Errors
///
/// Returns an error if standard output is not a terminal, if the terminal fails, or if the initial
/// data cannot be read from the daemon or its scoreboard file.
pub(crate) fn run(
    source: Source,
    timeout: Duration,
    interval: Duration,
    color_mode: ColorMode,
) -> Result<ExitCode, CtlError> {
    if !io::stdout().is_terminal() {
        let source = io::Error::other("standard output is not a terminal");
        return Err(CtlError::Terminal { source });
    }
    let initial = read_initial_data(&source, timeout)?;
    // The queue blocks the signals in this thread. The threads that are spawned below inherit the
    // signal mask, so only the queue receives the signals.
    let signals = SignalQueue::new(&[&END_SIGNALS[..], &[Signal::Tstp]].concat())?;
    let (sender, events) = mpsc::channel();
    let (command_sender, commands) = mpsc::channel();
    let source_kind = match &source {
        Source::Socket(_) | Source::Both { .. } => SourceKind::Daemon,
        Source::Board(_) => SourceKind::BoardOnly,
    };
    let mut screen = Screen::new(source_kind, color_mode, now());
    match initial {
        InitialData::Report(report) => screen.on_report(&report, now()),
        InitialData::Board(snapshot, reason) => {
            if let Some(reason) = reason {
                screen.on_disconnected(reason.to_string(), now());
            }
            screen.on_board(*snapshot, now());
        }
    }
    // `try_init` also installs a panic hook that restores the terminal.
    let mut terminal = ratatui::try_init().map_err(|source| CtlError::Terminal { source })?;
    let restore = Restore;
    if let Some(socket) = source.socket() {
        let socket = socket.to_owned();
        spawn(&sender, move |sender| {
            poll_daemon(&socket, timeout, interval, &commands, sender);
        });
    }
    if let Some(board) = source.board() {
        let board = BoardFile::new(board);
        spawn(&sender, move |sender| poll_board(board, interval, source_kind, sender));
    }
    spawn(&sender, move |sender| read_signals(&signals, sender));
    spawn(&sender, read_keys);
    drop(sender);
    let code = run_screen(&mut terminal, screen, &events, &command_sender);
    drop(restore);
    code
}

/// Starts a thread. If it panics, the screen ends, because the panic hook has restored the
/// terminal.
fn spawn(sender: &Sender<ScreenEvent>, run: impl FnOnce(&Sender<ScreenEvent>) + Send + 'static) {
    let sender = sender.clone();
    thread::spawn(move || {
        if catch_unwind(AssertUnwindSafe(|| run(&sender))).is_err() {
            // The screen may have ended already.
            let _ = sender.send(ScreenEvent::ThreadPanicked);
        }
    });
}

impl Source {
    fn socket(&self) -> Option<&Path> {
        match self {
            Source::Socket(socket) | Source::Both { socket, .. } => Some(socket),
            Source::Board(_) => None,
        }
    }

    fn board(&self) -> Option<&PathBuf> {
        match self {
            Source::Board(board) | Source::Both { board, .. } => Some(board),
            Source::Socket(_) => None,
        }
    }
}

/// Restores the terminal on drop.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // After a panic, the panic hook has already restored the terminal. A second restore would
        // move the cursor into the panic message.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}

fn read_initial_data(source: &Source, timeout: Duration) -> Result<InitialData, CtlError> {
    let report = |socket: &Path| DaemonClient::connect(socket, timeout)?.status().map(Box::new);
    let snapshot = |board: &Path| BoardFile::new(board).read(now()).map(Box::new);
    match source {
        Source::Socket(socket) => Ok(InitialData::Report(report(socket)?)),
        Source::Board(board) => Ok(InitialData::Board(snapshot(board)?, None)),
        Source::Both { socket, board } => match report(socket) {
            Ok(report) => Ok(InitialData::Report(report)),
            Err(error) if error.is_daemon_unavailable() => match snapshot(board) {
                Ok(snapshot) => Ok(InitialData::Board(snapshot, Some(error))),
                Err(_board_error) => Err(error),
            },
            Err(error) => Err(error),
        },
    }
}

/// Draws the screen and handles events until the screen ends. Returns the exit code.
fn run_screen(
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
    events: &Receiver<ScreenEvent>,
    commands: &Sender<ChildCommand>,
) -> Result<ExitCode, CtlError> {
    loop {
        terminal
            .draw(|frame| screen.view(frame))
            .map_err(|source| CtlError::Terminal { source })?;
        let next = match events.recv_timeout(TICK) {
            Ok(next) => next,
            Err(RecvTimeoutError::Timeout) => {
                screen.on_tick(now());
                continue;
            }
            // Not reached: the thread that reads keys sends its error before it drops its sender.
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(ExitCode::from(ExitStatus::Success as u8));
            }
        };
        let now = now();
        match next {
            ScreenEvent::Report(report) => screen.on_report(&report, now),
            ScreenEvent::Board(snapshot) => screen.on_board(*snapshot, now),
            ScreenEvent::Disconnected(reason) => screen.on_disconnected(reason, now),
            ScreenEvent::CommandFinished(result) => screen.on_command_finished(result, now),
            ScreenEvent::Resized => screen.on_tick(now),
            ScreenEvent::Signal(Signal::Tstp) => suspend(terminal)?,
            ScreenEvent::Signal(signal) => {
                // A shell returns this exit code for a program that was ended by a signal.
                return Ok(ExitCode::from(u8::try_from(128 + number_of(signal)).unwrap_or(128)));
            }
            ScreenEvent::InputFailed(source) => return Err(CtlError::Terminal { source }),
            ScreenEvent::ThreadPanicked => {
                let source = io::Error::other("a thread of the screen panicked");
                return Err(CtlError::Terminal { source });
            }
            ScreenEvent::Key(key) => match screen.on_key(key, now) {
                Some(ScreenRequest::Quit) => return Ok(ExitCode::from(ExitStatus::Success as u8)),
                // If there is no socket, no thread receives commands. In this case the screen does
                // not request any.
                Some(ScreenRequest::Run(command)) => drop(commands.send(command)),
                None => {}
            },
        }
    }
}

/// Stops this process with the terminal restored, and shows the screen again when it continues.
fn suspend(terminal: &mut DefaultTerminal) -> Result<(), CtlError> {
    ratatui::restore();
    // The system delivers the signal to this thread, the main thread, before the call returns.
    // This process exists, so the signal is delivered.
    let _delivered = process::signal(this_pid(), Signal::Stop)?;
    // A new terminal draws the whole screen. `clear` would ask for the position of the cursor, and
    // the thread that reads the keys would receive the answer.
    *terminal = enable_raw_mode()
        .and_then(|()| execute!(io::stdout(), EnterAlternateScreen))
        .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())))
        .map_err(|source| CtlError::Terminal { source })?;
    Ok(())
}

/// Requests the status at every interval, and runs commands when they arrive. Each request and
/// command uses a new connection, so the screen connects to a restarted daemon automatically.
fn poll_daemon(
    socket: &Path,
    timeout: Duration,
    interval: Duration,
    commands: &Receiver<ChildCommand>,
    sender: &Sender<ScreenEvent>,
) {
    let mut next = Instant::now() + interval;
    loop {
        let event = match commands.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(command) => {
                let result = run_command(socket, timeout, command);
                ScreenEvent::CommandFinished(
                    result.unwrap_or_else(|error| CommandResult::Failed(error.to_string())),
                )
            }
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + interval;
                let report =
                    DaemonClient::connect(socket, timeout).and_then(|mut client| client.status());
                match report {
                    Ok(report) => ScreenEvent::Report(Box::new(report)),
                    Err(error) => ScreenEvent::Disconnected(error.to_string()),
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if sender.send(event).is_err() {
            return;
        }
    }
}

fn run_command(
    socket: &Path,
    timeout: Duration,
    command: ChildCommand,
) -> Result<CommandResult, CtlError> {
    let mut client = DaemonClient::connect(socket, timeout)?;
    match command {
        ChildCommand::Retire(pid) => {
            client.execute(ControlCommand::Retire { pid }).map(CommandResult::Done)
        }
        ChildCommand::Kill(pid) => {
            client.execute(ControlCommand::Kill { pid }).map(CommandResult::Done)
        }
        ChildCommand::Trace(pid) => {
            let (text, _json) = client.trace(pid)?;
            Ok(CommandResult::Text { title: format!("trace of process {pid}"), text })
        }
    }
}

/// Reads the scoreboard file at every interval. Reports errors only if the file is the only source.
fn poll_board(
    mut board: BoardFile,
    interval: Duration,
    source_kind: SourceKind,
    sender: &Sender<ScreenEvent>,
) {
    loop {
        thread::sleep(interval);
        let event = match (board.read(now()), source_kind) {
            (Ok(snapshot), SourceKind::BoardOnly | SourceKind::Daemon) => {
                ScreenEvent::Board(Box::new(snapshot))
            }
            (Err(error), SourceKind::BoardOnly) => ScreenEvent::Disconnected(error.to_string()),
            (Err(_ignored), SourceKind::Daemon) => continue,
        };
        if sender.send(event).is_err() {
            return;
        }
    }
}

fn read_signals(signals: &SignalQueue, sender: &Sender<ScreenEvent>) {
    while poll::wait(&[(signals.as_fd(), Interest::Read)], None).is_ok() {
        for signal in signals.drain().unwrap_or_default() {
            if sender.send(ScreenEvent::Signal(signal)).is_err() {
                return;
            }
        }
    }
}

fn read_keys(sender: &Sender<ScreenEvent>) {
    loop {
        let event = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => ScreenEvent::Key(key),
            Ok(Event::Resize(_, _)) => ScreenEvent::Resized,
            Ok(_other) => continue,
            Err(error) => {
                // The screen ends with this error.
                let _ = sender.send(ScreenEvent::InputFailed(error));
                return;
            }
        };
        if sender.send(event).is_err() {
            return;
        }
    }
}
