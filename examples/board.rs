//! A pre-forking server that shows its scoreboard while you talk to it.
//!
//! Type
//!
//! ```sh
//! make run                                       # or:
//! cargo run --release --example board -- 7070
//! ```
//!
//! and in other terminals `nc 127.0.0.1 7070`, several at a time. A line that you type comes back
//! with the pid of the process that read it. `LONG` marks the request as a long one, `CRASH` aborts
//! its process, which costs this connection and no other, `BYE` ends it. Ctrl-C stops the daemon.
//!
//! On a terminal the board is painted anew twice a second; otherwise a line is written for each
//! change. The log goes to `board.log` beside the program.

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
    DaemonChild, GetStatus, PreFork, Program, Report, UpdateStatus,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How often the board is looked at.
const LOOK: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = examples::listen()?;
    let logfile = examples::logfile("board")?;
    // Standard output becomes the log file's at the launch; the board keeps the terminal.
    let screen = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut goodbye = screen.try_clone()?;
    let pool = PreFork::new(4).min_spare(2).max_spare(5).max_children(12).requests(100);
    let board =
        Board { address: listener.local_addr()?, logfile: logfile.clone(), screen, listener };
    Daemon::builder()
        .model(pool)
        .alias("board")
        .logfile(logfile)
        .grace(Duration::from_secs(5))
        .launch(board)?
        .run()?;
    writeln!(goodbye, "\nboard has stopped; no process is left")?;
    Ok(())
}

/// The program: children use the listener, the parent the screen.
struct Board {
    address: SocketAddr,
    logfile: PathBuf,
    screen: File,
    listener: TcpListener,
}

impl Program for Board {
    type Request = ();

    fn parent(self, daemon: Addr<DaemonActor<()>>) {
        let paint = if self.screen.is_terminal() { Paint::Anew } else { Paint::Changes };
        let screen = Screen {
            out: self.screen,
            paint,
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
                .expect("the runtime can watch a listener");
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
                tokio::select! {
                    // A client that is gone needs no answer; the next one waits.
                    _talked = talk(stream, &child) => {}
                    _reason = child.wait_for_shutdown() => {}
                }
                child.label("");
            }
            daemon.do_send(UpdateStatus::Done);
        };
        ctx.spawn(talk.into_actor(self));
    }
}

async fn talk(stream: TcpStream, child: &ChildHandle) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    child.label(&format!("{peer} has connected"));
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut lines = 0;
    while stream.read_line(&mut line).await? > 0 {
        lines += 1;
        child.label(&format!("{peer}, lines: {lines}"));
        match line.trim().to_ascii_uppercase().as_str() {
            "BYE" => return Ok(()),
            "CRASH" => std::process::abort(),
            // Said twice it is refused, which does no harm.
            "LONG" => child.long().unwrap_or_default(),
            _an_echo => {}
        }
        let answer = format!("{}: {}\r\n", std::process::id(), line.trim());
        stream.write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

// ---- the parent: a screen --------------------------------------------------------------------

/// How the board is shown.
enum Paint {
    /// The whole screen, from its top.
    Anew,
    /// A line, when something has changed.
    Changes,
}

struct Screen {
    out: File,
    paint: Paint,
    daemon: Addr<DaemonActor<()>>,
    address: SocketAddr,
    logfile: PathBuf,
    last: String,
}

impl Actor for Screen {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let written = match self.paint {
            Paint::Anew => write!(self.out, "\x1b[2J"),
            Paint::Changes => writeln!(self.out, "{}", self.how_to_talk()),
        };
        drop(written);
        self.look(ctx);
        ctx.run_interval(LOOK, Screen::look);
    }
}

impl Screen {
    fn look(&mut self, ctx: &mut Context<Self>) {
        let report = self.daemon.send(GetStatus::Board).into_actor(self);
        ctx.spawn(report.map(|report, screen, _ctx| {
            if let Ok(report) = report {
                // A terminal that is gone does not end the daemon.
                drop(screen.show(&report));
            }
        }));
    }

    fn show(&mut self, report: &Report) -> io::Result<()> {
        match self.paint {
            Paint::Anew => {
                let page = self.page(report).replace('\n', "\x1b[K\n");
                write!(self.out, "\x1b[H{page}\x1b[J")
            }
            Paint::Changes => {
                let line = format!("[{}] {}", report.board, summary(report));
                if line != self.last {
                    writeln!(self.out, "{line}")?;
                    self.last = line;
                }
                Ok(())
            }
        }
    }

    fn how_to_talk(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        format!(
            "Talk to it from other terminals:  nc {ip} {port}\n\
             or in bash:  exec 3<>/dev/tcp/{ip}/{port}; echo hello >&3; head -1 <&3\n\
             A line comes back. LONG marks it as long, CRASH aborts its process, BYE ends.",
        )
    }

    /// At most 23 lines of at most 80 characters: four, one a child, six.
    fn page(&self, report: &Report) -> String {
        let letters: String = report.board.chars().map(coloured).collect();
        let mut page = format!(
            "\x1b[1mactix-daemon\x1b[0m on {}, up {}: {}\n\n  [{letters}]\n\n\
             \x1b[2mslot     pid  status        age  since  requests  does\x1b[0m\n",
            self.address,
            span(report.up),
            summary(report),
        );
        for child in &report.children {
            page.push_str(&row(child));
        }
        let blank = report.max_children as usize;
        page.push_str(&"\n".repeat(blank.saturating_sub(report.children.len()) + 1));
        page.push_str(&self.how_to_talk());
        page.push_str(&format!(
            "\nCtrl-C stops it. kill -TTIN {parent}: one spare more, -TTOU: fewer, -HUP: new log\n\
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
        "{} of {} children, {requests} requests, {died} crashes",
        report.children.len(),
        report.max_children,
    )
}

fn row(child: &ChildReport) -> String {
    let pid = child.pid.map_or_else(String::new, |pid| pid.to_string());
    let label: String = child.label.iter().flat_map(|text| text.chars()).collect();
    format!(
        "{:>4}  {pid:>6}  {} {:<9} {:>5}  {:>5}  {:>8}  {label:.31}\n",
        child.slot.get(),
        coloured(child.letter),
        meaning(child.letter),
        span(child.age),
        span(child.since),
        child.requests,
    )
}

fn meaning(letter: char) -> &'static str {
    match letter {
        'F' => "ordered",
        'f' => "born",
        '.' => "fresh",
        'w' => "waiting",
        'r' => "serving",
        'l' => "long",
        'e' => "leaving",
        _damaged => "?",
    }
}

fn coloured(letter: char) -> String {
    let colour = match letter {
        'r' => "1;33",
        'l' => "1;35",
        '.' | 'w' => "32",
        'e' => "31",
        _on_its_way => "36",
    };
    format!("\x1b[{colour}m{letter}\x1b[0m")
}

/// A time in at most five characters.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m{:02}", seconds / 60, seconds % 60),
        seconds @ 3_600..86_400 => format!("{}h{:02}", seconds / 3_600, seconds / 60 % 60),
        seconds => format!("{}d", seconds / 86_400),
    }
}
