//! An echo server that uses `serve`, in both forking models and over both kinds of socket. It also
//! answers the lines `pid`, `sleep MILLIS`, `block FILE`, `exhaust_descriptors FILE`,
//! `attack NAME SEED MILLIS`, `fail`, `reset` and `panic`, and `say WORDS`, which reports statuses.
//!
//! The option `inherit` takes the listener from standard input (`inherit=stdin`), or takes
//! descriptor 3 as a library does that removes the variables of the service manager
//! (`inherit=fds`). The option `ownership` declares who owns the listener. The option `unix` binds a
//! Unix socket instead. `give_away=PATH` gives a duplicate of the listener to the process that
//! listens at this path.

use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use actix_daemon::{
    ChildHandle, Connection, Listen, ListenerOwnership, StreamSocket, UpdateStatus, bind_unix,
};
use daemon_sys::environment;
use daemon_sys::fds::take_inherited;
use daemon_sys::link::LinkEnd;
use live_tests::{Options, attack, block, keep_descriptors_exhausted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    // First, because the harness waits for the port.
    let unix = options.get("unix").map(bind_unix).transpose()?;
    let tcp = match options.get("inherit") {
        None => options.listen()?,
        Some("stdin") => TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?),
        Some(_) => {
            let taken = take_inherited(3, 1)?.pop().ok_or("no descriptor")?;
            let names = ["LISTEN_PID", "LISTEN_FDS", "SERVER_STARTER_PORT"];
            environment::retain(|name| !names.iter().any(|removed| name == *removed))?;
            taken.into()
        }
    };
    if let Some(path) = options.get("give_away") {
        let receiver = LinkEnd::from(OwnedFd::from(UnixStream::connect(path)?));
        receiver.send_one(tcp.as_fd())?;
    }
    match unix {
        Some(unix) => serve(&options, unix),
        None => match options.get("ownership") {
            None => serve(&options, tcp),
            Some("alone") => serve(&options, ListenerOwnership::Alone.declare(tcp)),
            Some(_) => serve(&options, ListenerOwnership::Shared.declare(tcp)),
        },
    }
}

fn serve<L: Listen>(options: &Options, listener: L) -> Result<(), Box<dyn Error>> {
    let builder = options.builder();
    match options.has("postfork") {
        true => builder.model(options.post_fork_model()).serve(listener, echo)?,
        false => builder.model(options.pre_fork_model()).serve(listener, echo)?,
    }
    Ok(())
}

async fn echo<S: StreamSocket>(mut stream: Connection<S>, child: ChildHandle) -> io::Result<()> {
    child.label("echo");
    let mut bytes = [0; 1024];
    loop {
        let read = stream.read(&mut bytes).await?;
        let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
        let (word, rest) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
        let answer = match word {
            _ if read == 0 => return Ok(()),
            "exit" => std::process::exit(7),
            "pid" => std::process::id().to_string(),
            "attack" => attack(rest),
            "sleep" => {
                tokio::time::sleep(Duration::from_millis(rest.parse().unwrap_or(0))).await;
                std::process::id().to_string()
            }
            "block" => {
                block(rest);
                "unblocked".to_owned()
            }
            "panic" => panic!("on purpose"),
            "fail" => return Err(io::Error::other("no such account")),
            "reset" => return Err(io::ErrorKind::ConnectionReset.into()),
            "say" => {
                let said: Vec<_> = rest.split_whitespace().map(|word| say(word, &child)).collect();
                said.join(" ")
            }
            "exhaust_descriptors" => {
                keep_descriptors_exhausted(rest.to_owned());
                "ok".to_owned()
            }
            _ => {
                stream.write_all(&bytes[..read]).await?;
                continue;
            }
        };
        stream.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}

/// Says something about the request, as a handler may do. Returns whether it was accepted.
fn say(word: &str, child: &ChildHandle) -> &'static str {
    let update = match word {
        "wait" => UpdateStatus::Wait,
        "req" => UpdateStatus::Req,
        "long" => UpdateStatus::Long,
        "done" => UpdateStatus::Done,
        "extend" => UpdateStatus::Extend(Duration::from_secs(60)),
        "label" => {
            child.label("saying");
            return "ok";
        }
        // The message has no answer here.
        "send" => {
            child.daemon().do_send(UpdateStatus::Done);
            return "ok";
        }
        "work" => {
            child.work(async { tokio::task::yield_now().await });
            return "ok";
        }
        // A task that outlives the request, and reports one.
        "later" => {
            let child = child.clone();
            child.clone().work(async move {
                for _time in 0..50 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    let _ = child.update_status(UpdateStatus::Req);
                    let _ = child.update_status(UpdateStatus::Done);
                }
            });
            return "ok";
        }
        _unknown => return "unknown",
    };
    if child.update_status(update).is_ok() { "ok" } else { "refused" }
}
