//! The parent's command socket: a Unix socket through which a test sends commands to the daemon's
//! actor, one per line. This module also contains an actor that logs every broadcast it receives.

use std::io;
use std::path::Path;
use std::process::Command;

use actix::{Actor, Addr, Context, Handler};
use actix_daemon::{
    ChildExited, DaemonAccept, DaemonActor, DaemonHup, DaemonParent, DaemonPause, DaemonShutdown,
    DaemonStart, Detail, ForeignChild, ForeignExited, GetStatus, HandOver, Peek, Pid, Reload,
    Resize, RogueChild, SetSize, Shutdown, StopMode, Subscribe, TraceChild, Transfer, UpdateStatus,
    logger,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::commands::variables;
use crate::misbehave::exhaust_descriptors;

/// A test program's own commands. The command socket calls this function for each command that is
/// not built in. The function returns the request to hand over to a child, or `None` if the command
/// is unknown.
pub type ExtraCommand<R> = fn(&Addr<DaemonActor<R>>, &str) -> Option<HandOver<R>>;

/// Opens the command socket at this path, inside the parent's System.
///
/// # Errors
///
/// If the socket cannot be bound.
pub fn open_command_socket<R>(
    place: &Path,
    daemon: Addr<DaemonActor<R>>,
    ask: ExtraCommand<R>,
) -> io::Result<()>
where
    R: Transfer + Send,
{
    // If the program was restarted, the socket file of the previous run still exists at this path.
    let _ = std::fs::remove_file(place);
    let listener = UnixListener::bind(place)?;
    actix_rt::spawn(async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            actix_rt::spawn(serve(stream, daemon.clone(), ask));
        }
    });
    Ok(())
}

async fn serve<R: Transfer + Send>(
    mut stream: UnixStream,
    daemon: Addr<DaemonActor<R>>,
    ask: ExtraCommand<R>,
) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let mut descriptors = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.as_str() {
            "exhaust_descriptors" => {
                descriptors.extend(exhaust_descriptors());
                descriptors.len().to_string()
            }
            "release" => {
                descriptors.clear();
                "ok".to_owned()
            }
            _ => answer(&line, &daemon, ask).await,
        };
        if write.write_all(format!("{answer}\n.\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer<R: Transfer + Send>(
    line: &str,
    daemon: &Addr<DaemonActor<R>>,
    ask: ExtraCommand<R>,
) -> String {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "status" => reply(daemon.send(GetStatus::Board).await, |report| report.to_string()),
        "json" => reply(daemon.send(GetStatus::Board).await, |report| {
            serde_json::to_string(&report).unwrap_or_else(|error| error.to_string())
        }),
        "peek" => {
            let detail = Detail::Verbose;
            reply(daemon.send(Peek { detail }).await, |peek| peek)
        }
        "variables" => variables(),
        "reload" => reply(daemon.send(Reload).await, debug_reply),
        "resize" => {
            let resize = match rest {
                "more" => Resize::More,
                "fewer" => Resize::Fewer,
                number => Resize::To(number.parse().unwrap_or(0)),
            };
            reply(daemon.send(SetSize(resize)).await, debug_reply)
        }
        "shutdown" => {
            reply(daemon.send(Shutdown(StopMode::Graceful)).await, |begun| format!("{begun:?}"))
        }
        "wait" => reply(daemon.send(UpdateStatus::Wait).await, debug_reply),
        "trace" => {
            let pid = rest.parse().ok().and_then(Pid::from_raw);
            let Some(pid) = pid else { return "no pid".to_owned() };
            reply(daemon.send(TraceChild(pid)).await, |traced| match traced {
                Ok(evidence) => evidence.to_string(),
                Err(error) => error.to_string(),
            })
        }
        "foreign" => adopt(rest, daemon).await,
        _ => match ask(daemon, line) {
            None => "???".to_owned(),
            Some(hand_over) => reply(daemon.send(hand_over).await, |handed| match handed {
                Ok(handed) => format!("handed to {}", handed.pid),
                Err(error) => format!("not handed over: {}", error.reason),
            }),
        },
    }
}

fn reply<T>(answer: Result<T, actix::MailboxError>, show: impl FnOnce(T) -> String) -> String {
    answer.map_or_else(|gone| gone.to_string(), show)
}

fn debug_reply<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(done) => format!("{done:?}"),
        Err(refused) => format!("refused: {refused}"),
    }
}

/// Starts a shell command as a child process of the parent, and has the daemon watch the process as
/// a foreign child.
async fn adopt<R: Transfer + Send>(command: &str, daemon: &Addr<DaemonActor<R>>) -> String {
    let started = Command::new("sh").args(["-c", command]).spawn();
    let pid = match started {
        Ok(child) => i32::try_from(child.id()).ok().and_then(Pid::from_raw),
        Err(error) => return error.to_string(),
    };
    match pid {
        None => "no pid".to_owned(),
        Some(pid) => reply(daemon.send(ForeignChild(pid)).await, |adopted| match adopted {
            Ok(()) => pid.to_string(),
            Err(error) => error.to_string(),
        }),
    }
}

/// Logs broadcasts as `received: NAME` with their content.
struct BroadcastLogger;

impl Actor for BroadcastLogger {
    type Context = Context<Self>;
}

macro_rules! broadcasts {
    ($($message:ty: $text:expr;)*) => {
        /// Subscribes an actor to the parent's broadcasts that the tests check. The actor logs each
        /// of these broadcasts.
        pub fn subscribe<R: Transfer + Send>(daemon: &Addr<DaemonActor<R>>) {
            let subscriber = BroadcastLogger.start();
            $(daemon.do_send(Subscribe::<$message>::new("broadcast_logger", subscriber.clone()));)*
        }

        $(impl Handler<$message> for BroadcastLogger {
            type Result = ();

            fn handle(&mut self, message: $message, _ctx: &mut Context<Self>) {
                let text: fn(&$message) -> String = $text;
                slog::info!(logger(), "received: {}", text(&message));
            }
        })*
    };
}

broadcasts! {
    DaemonStart: |_| "DaemonStart".to_owned();
    DaemonParent: |_| "DaemonParent".to_owned();
    DaemonAccept: |_| "DaemonAccept".to_owned();
    DaemonPause: |_| "DaemonPause".to_owned();
    DaemonHup: |_| "DaemonHup".to_owned();
    DaemonShutdown: |shutdown| format!("DaemonShutdown {:?}", shutdown.reason);
    ChildExited: |exited| format!("ChildExited {} {}", exited.pid, exited.cause);
    RogueChild: |rogue| format!(
        "RogueChild {} {} {}",
        rogue.pid,
        rogue.step.word(),
        rogue.violation.map_or_else(String::new, |violation| violation.to_string())
    );
    ForeignExited: |exited| format!("ForeignExited {}", exited.pid);
}
