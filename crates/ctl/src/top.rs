//! The live screen: its terminal, and the threads that bring it news.
//!
//! Each source of news has a thread that waits for it: keys, signals, the daemon's answers, the
//! scoreboard's file. They all send to one channel, and the screen lives on its other end, in the
//! main thread.

mod columns;
mod rates;
mod screen;
#[cfg(test)]
pub(crate) mod staged;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use actix_daemon::Report;
use actix_daemon::control::protocol::ControlCommand;
use daemon_sys::Signal;
use daemon_sys::poll::{self, Interest};
use daemon_sys::signals::SignalQueue;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};

use self::screen::{Deed, Means, Palette, Screen, Told, Wish};
use crate::board::{self, BoardFile};
use crate::cli::Source;
use crate::client::Client;
use crate::events::Paint;
use crate::failure::{Code, Failure};
use crate::picture::Picture;

/// So often the screen is painted without news, for the times on it.
const TICK: Duration = Duration::from_secs(1);

/// What ends a program that shows a screen.
const ENDING: [Signal; 4] = [Signal::Term, Signal::Hup, Signal::Int, Signal::Quit];

/// What a thread brings.
enum News {
    Report(Box<Report>),
    Board(Box<Picture>),
    Lost(String),
    Told(Told),
    Key(KeyEvent),
    /// Of the terminal.
    Resized,
    Signal(Signal),
    /// The terminal is gone.
    Deaf(io::Error),
}

/// What the first look has found, before there is a screen.
enum First {
    Report(Box<Report>),
    Board(Box<Picture>, Option<Failure>),
}

/// Shows the screen until the user leaves it, or a signal ends it.
///
/// # Errors
///
/// If the daemon does not answer the first time and there is no scoreboard to read; if there is no
/// terminal.
pub(crate) fn run(
    source: Source,
    timeout: Duration,
    interval: Duration,
    paint: Paint,
) -> Result<ExitCode, Failure> {
    if !io::stdout().is_terminal() {
        let source = io::Error::other("standard output is no terminal");
        return Err(Failure::Screen { source });
    }
    let first = first_look(&source, timeout)?;
    // All threads inherit it: the signals are the queue's alone.
    let signals = SignalQueue::new(&ENDING)?;
    let (send, news) = mpsc::channel();
    let (orders, deeds) = mpsc::channel();
    let means = match &source {
        Source::Socket(_) | Source::Both { .. } => Means::Daemon,
        Source::Board(_) => Means::BoardAlone,
    };
    let palette = match paint {
        Paint::Coloured => Palette::Colours,
        Paint::Plain => Palette::Plain,
    };
    let mut screen = Screen::new(means, palette, board::now());
    match first {
        First::Report(report) => screen.on_report(&report, board::now()),
        First::Board(picture, why) => {
            if let Some(why) = why {
                screen.on_lost(why.to_string(), board::now());
            }
            screen.on_board(*picture, board::now());
        }
    }
    // It sets a hook that restores the terminal on a panic, too.
    let mut terminal = ratatui::try_init().map_err(|source| Failure::Screen { source })?;
    let restore = Restore;
    if let Some(socket) = source.socket() {
        let (socket, send) = (socket.to_owned(), send.clone());
        thread::spawn(move || ask_daemon(&socket, timeout, interval, &deeds, &send));
    }
    if let Some(board) = source.board() {
        let (board, send) = (BoardFile::at(board), send.clone());
        thread::spawn(move || read_board(board, interval, means, &send));
    }
    thread::spawn({
        let send = send.clone();
        move || hear_signals(&signals, &send)
    });
    thread::spawn(move || hear_keys(&send));
    let code = show(&mut terminal, screen, &news, &orders);
    drop(restore);
    code
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

/// Gives the terminal back as it was.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // On a panic its hook has done so; a second time would move the cursor into what it says.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}

fn first_look(source: &Source, timeout: Duration) -> Result<First, Failure> {
    let report = |socket: &Path| Client::connect(socket, timeout)?.status().map(Box::new);
    let picture = |board: &Path| BoardFile::at(board).look(board::now()).map(Box::new);
    match source {
        Source::Socket(socket) => Ok(First::Report(report(socket)?)),
        Source::Board(board) => Ok(First::Board(picture(board)?, None)),
        Source::Both { socket, board } => match report(socket) {
            Ok(report) => Ok(First::Report(report)),
            Err(failure) if failure.is_silence() => match picture(board) {
                Ok(picture) => Ok(First::Board(picture, Some(failure))),
                Err(_no_help) => Err(failure),
            },
            Err(failure) => Err(failure),
        },
    }
}

/// Paints after each news.
fn show(
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
    news: &Receiver<News>,
    orders: &Sender<Deed>,
) -> Result<ExitCode, Failure> {
    loop {
        terminal.draw(|frame| screen.view(frame)).map_err(|source| Failure::Screen { source })?;
        let next = match news.recv_timeout(TICK) {
            Ok(next) => next,
            Err(RecvTimeoutError::Timeout) => {
                screen.on_tick(board::now());
                continue;
            }
            // The thread that hears keys lives as long as the terminal.
            Err(RecvTimeoutError::Disconnected) => return Ok(ExitCode::from(Code::Done as u8)),
        };
        let now = board::now();
        match next {
            News::Report(report) => screen.on_report(&report, now),
            News::Board(picture) => screen.on_board(*picture, now),
            News::Lost(why) => screen.on_lost(why, now),
            News::Told(told) => screen.on_told(told, now),
            News::Resized => screen.on_tick(now),
            News::Signal(signal) => {
                // As a shell tells an end by a signal.
                return Ok(ExitCode::from(u8::try_from(128 + signal.number()).unwrap_or(128)));
            }
            News::Deaf(source) => return Err(Failure::Screen { source }),
            News::Key(key) => match screen.on_key(key, now) {
                Some(Wish::Quit) => return Ok(ExitCode::from(Code::Done as u8)),
                // Nobody takes them if there is no socket; the screen does not wish for any then.
                Some(Wish::Do(deed)) => drop(orders.send(deed)),
                None => {}
            },
        }
    }
}

/// Asks for the state at every interval, and for deeds as they come. Each has a connection of its
/// own, so that a daemon that has started anew is found by itself.
fn ask_daemon(
    socket: &Path,
    timeout: Duration,
    interval: Duration,
    deeds: &Receiver<Deed>,
    send: &Sender<News>,
) {
    let mut next = Instant::now() + interval;
    loop {
        let news = match deeds.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(deed) => {
                let told = carry_out(socket, timeout, deed);
                News::Told(told.unwrap_or_else(|failure| Told::Failed(failure.to_string())))
            }
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + interval;
                let report =
                    Client::connect(socket, timeout).and_then(|mut client| client.status());
                match report {
                    Ok(report) => News::Report(Box::new(report)),
                    Err(failure) => News::Lost(failure.to_string()),
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if send.send(news).is_err() {
            return;
        }
    }
}

fn carry_out(socket: &Path, timeout: Duration, deed: Deed) -> Result<Told, Failure> {
    let mut client = Client::connect(socket, timeout)?;
    match deed {
        Deed::Retire(pid) => client.order(ControlCommand::Retire { pid }).map(Told::Done),
        Deed::Kill(pid) => client.order(ControlCommand::Kill { pid }).map(Told::Done),
        Deed::Trace(pid) => {
            let (text, _for_programs) = client.trace(pid)?;
            Ok(Told::Text { title: format!("trace of process {pid}"), text })
        }
    }
}

/// Reads the scoreboard at every interval. Beside a daemon that answers it is not missed.
fn read_board(mut board: BoardFile, interval: Duration, means: Means, send: &Sender<News>) {
    loop {
        thread::sleep(interval);
        let news = match (board.look(board::now()), means) {
            (Ok(picture), Means::BoardAlone | Means::Daemon) => News::Board(Box::new(picture)),
            (Err(failure), Means::BoardAlone) => News::Lost(failure.to_string()),
            (Err(_not_missed), Means::Daemon) => continue,
        };
        if send.send(news).is_err() {
            return;
        }
    }
}

fn hear_signals(signals: &SignalQueue, send: &Sender<News>) {
    while poll::wait(&[(signals.as_fd(), Interest::Read)], None).is_ok() {
        for signal in signals.drain().unwrap_or_default() {
            if send.send(News::Signal(signal)).is_err() {
                return;
            }
        }
    }
}

fn hear_keys(send: &Sender<News>) {
    loop {
        let news = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => News::Key(key),
            Ok(Event::Resize(_, _)) => News::Resized,
            Ok(_other) => continue,
            Err(error) => {
                // The screen ends with it.
                let _ = send.send(News::Deaf(error));
                return;
            }
        };
        if send.send(news).is_err() {
            return;
        }
    }
}
