//! An echo server that uses `serve`, in both forking models and over both kinds of socket. It also
//! answers the lines `pid`, `sleep MILLIS`, `block FILE`, `exhaust_descriptors FILE` and
//! `attack NAME SEED MILLIS`.
//!
//! The option `inherit` takes the listener from standard input (`inherit=stdin`) or from the service
//! manager (`inherit=fds`). The option `ownership` declares who owns it.

use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use actix_daemon::{ChildHandle, Connection, Listen, ListenerOwnership, StreamSocket};
use daemon_sys::fds::take_inherited;
use live_tests::{Options, attack, block, keep_descriptors_exhausted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read();
    let tcp = match options.get("inherit") {
        None => options.listen()?,
        Some("stdin") => TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?),
        Some(_) => take_inherited(3, 1)?.pop().ok_or("no descriptor")?.into(),
    };
    match options.get("unix").map(UnixListener::bind).transpose()? {
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
