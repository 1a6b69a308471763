//! A pre-forking server that shows its scoreboard while you talk to it.
//!
//! Type
//!
//! ```sh
//! make run                                       # or:
//! cargo run --release --example board -- 7070
//! ```
//!
//! and `nc 127.0.0.1 7070` in one or more other terminals. Each line comes back with the pid of the
//! process that read the line. `LONG` sets the status of the request to long. `CRASH` aborts the
//! process, which ends only this connection. `BYE` closes the connection. Ctrl-C stops the daemon.
//!
//! On a terminal the scoreboard is redrawn twice a second. Otherwise the program prints a line for
//! each change. The log is `board.log` beside the program.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use actix::fut::ActorFutureExt;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use actix_daemon::{
    Accepted, ChildAcceptor, ChildActor, ChildHandle, ChildReport, Daemon, DaemonActor,
    DaemonChild, GetStatus, PreFork, Program, Report, Status, UpdateStatus, format,
};
use examples::patiently;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The interval between two updates of the screen.
const INTERVAL: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = examples::listen()?;
    let logfile = examples::logfile("board")?;
    // The launch redirects standard output to the log file; the screen keeps the terminal.
    let screen = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut goodbye = screen.try_clone()?;
    let pool = PreFork::new(4).min_spare(2).max_spare(5).max_children(12).requests(100);
    let program = BoardProgram {
        address: listener.local_addr()?,
        logfile: logfile.clone(),
        screen,
        listener,
    };
    Daemon::builder()
        .model(pool)
        .alias("board")
        .logfile(logfile)
        .grace(Duration::from_secs(5))
        .launch(program)?
        .run()?;
    writeln!(goodbye, "\nboard has stopped; no process is left")?;
    Ok(())
}

/// The program. Its children use the listener, and its parent uses the screen.
struct BoardProgram {
    address: SocketAddr,
    logfile: PathBuf,
    screen: File,
    listener: TcpListener,
}

impl Program for BoardProgram {
    type Request = ();

    fn parent(self, daemon: Addr<DaemonActor<()>>) {
        let mode = if self.screen.is_terminal() { ScreenMode::Redraw } else { ScreenMode::Changes };
        let screen = Screen {
            out: self.screen,
            mode,
            daemon,
            address: self.address,
            logfile: self.logfile,
            last: String::new(),
        };
        screen.start();
    }

    fn child(self, daemon: Addr<ChildActor>) -> Recipient<DaemonChild<()>> {
        let listener = Some(self.listener);
        Session { daemon, listener }.start().recipient()
    }
}

// ---- a child: one connection at a time -------------------------------------------------------

struct Session {
    daemon: Addr<ChildActor>,
    listener: Option<TcpListener>,
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Handler<DaemonChild<()>> for Session {
    type Result = ();

    fn handle(&mut self, _child: DaemonChild<()>, ctx: &mut Context<Self>) {
        if let Some(listener) = self.listener.take() {
            ChildAcceptor::start(listener, self.daemon.clone(), ctx.address().recipient())
                .expect("cannot watch the listener");
        }
        self.daemon.do_send(UpdateStatus::Wait);
    }
}

impl Handler<Accepted<std::net::TcpStream>> for Session {
    type Result = ();

    fn handle(&mut self, accepted: Accepted<std::net::TcpStream>, ctx: &mut Context<Self>) {
        let daemon = self.daemon.clone();
        let talk = async move {
            if let (Some(child), Ok(stream)) =
                (ChildHandle::current(), TcpStream::from_std(accepted.0))
            {
                // Ignore errors of this client; the next one is waiting.
                let _ = talk(stream, &child).await;
                child.label("");
            }
            daemon.do_send(UpdateStatus::Done);
        };
        ctx.spawn(talk.into_actor(self));
    }
}

async fn talk(stream: TcpStream, child: &ChildHandle) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    child.label(&format!("{peer} connected"));
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut lines = 0;
    while patiently(stream.read_line(&mut line)).await? > 0 {
        lines += 1;
        child.label(&format!("{peer}, lines: {lines}"));
        match line.trim().to_ascii_uppercase().as_str() {
            "BYE" => return Ok(()),
            "CRASH" => std::process::abort(),
            // Fails if the status is long already, which is harmless.
            "LONG" => child.long().unwrap_or_default(),
            _other => {}
        }
        let answer = format!("{}: {}\r\n", std::process::id(), line.trim());
        patiently(stream.write_all(answer.as_bytes())).await?;
        line.clear();
    }
    Ok(())
}

// ---- the parent: a screen --------------------------------------------------------------------

/// The output format of the screen.
enum ScreenMode {
    /// Redraws the whole screen.
    Redraw,
    /// Prints a line for each change.
    Changes,
}

struct Screen {
    out: File,
    mode: ScreenMode,
    daemon: Addr<DaemonActor<()>>,
    address: SocketAddr,
    logfile: PathBuf,
    last: String,
}

impl Actor for Screen {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let written = match self.mode {
            ScreenMode::Redraw => write!(self.out, "\x1b[2J"),
            ScreenMode::Changes => writeln!(self.out, "{}", self.instructions()),
        };
        drop(written);
        self.update(ctx);
        ctx.run_interval(INTERVAL, Screen::update);
    }
}

impl Screen {
    fn update(&mut self, ctx: &mut Context<Self>) {
        let report = self.daemon.send(GetStatus::Board).into_actor(self);
        ctx.spawn(report.map(|report, screen, _ctx| {
            if let Ok(report) = report {
                // A closed terminal must not end the daemon.
                drop(screen.show(&report));
            }
        }));
    }

    fn show(&mut self, report: &Report) -> io::Result<()> {
        match self.mode {
            ScreenMode::Redraw => {
                let page = self.page(report).replace('\n', "\x1b[K\n");
                write!(self.out, "\x1b[H{page}\x1b[J")
            }
            ScreenMode::Changes => {
                let line = format!("[{}] {}", report.board, summary(report));
                if line != self.last {
                    writeln!(self.out, "{line}")?;
                    self.last = line;
                }
                Ok(())
            }
        }
    }

    fn instructions(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        format!(
            "Connect from other terminals:  nc {ip} {port}\n\
             or in bash:  exec 3<>/dev/tcp/{ip}/{port}; echo hello >&3; head -1 <&3\n\
             Each line comes back. LONG: long request, CRASH: abort the process, BYE: close.",
        )
    }

    /// Returns the page: five lines at the top, `max_children` lines for the children, and six
    /// lines at the bottom. With room for twelve children, the page has 23 lines. A child's line
    /// has at most 80 characters.
    fn page(&self, report: &Report) -> String {
        let letters: String = report.board.chars().map(coloured).collect();
        let mut page = format!(
            "\x1b[1mactix-daemon\x1b[0m on {}, up {}: {}\n\n  [{letters}]\n\n\
             \x1b[2mslot     pid  status         age     for  requests  label\x1b[0m\n",
            self.address,
            format::duration(report.up),
            summary(report),
        );
        for child in &report.children {
            page.push_str(&row(child));
        }
        let blank = report.max_children as usize;
        page.push_str(&"\n".repeat(blank.saturating_sub(report.children.len()) + 1));
        page.push_str(&self.instructions());
        page.push_str(&format!(
            "\nCtrl-C: stop. kill -TTIN {parent}: one more spare, -TTOU: one less, -HUP: new log\n\
             log: {}",
            self.logfile.display(),
            parent = report.parent,
        ));
        page
    }
}

fn summary(report: &Report) -> String {
    let (requests, died) =
        report.counters.as_ref().map_or((0, 0), |counts| (counts.requests, counts.failed_exits));
    format!(
        "{} of {} children, {requests} request{}, {died} crash{}",
        report.children.len(),
        report.max_children,
        if requests == 1 { "" } else { "s" },
        if died == 1 { "" } else { "es" },
    )
}

fn row(child: &ChildReport) -> String {
    let pid = child.pid.map_or_else(String::new, |pid| pid.to_string());
    let label: String = child.label.iter().flat_map(|text| text.chars()).collect();
    format!(
        "{:>4}  {pid:>6}  {} {:<9} {:>6}  {:>6}  {:>8}  {label:.28}\n",
        child.slot.get(),
        coloured(child.letter),
        Status::from_letter(child.letter).map_or("?", Status::word),
        format::duration(child.age),
        format::duration(child.since),
        child.requests,
    )
}

fn coloured(letter: char) -> String {
    let colour = match letter {
        'r' => "1;33",
        'l' => "1;35",
        '.' | 'w' => "32",
        'e' => "31",
        _starting => "36",
    };
    format!("\x1b[{colour}m{letter}\x1b[0m")
}
