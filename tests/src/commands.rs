//! The line protocol of a child under test. A command is one line, and so is its answer.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use actix_daemon::{ChildHandle, Detail, GetStatus, Peek, logger};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

use crate::attempts::attempt;
use crate::misbehave::{keep_descriptors_exhausted, misbehave};

/// The interval at which a child checks for a file.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What a session does after a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It serves the next client.
    Serve,
    /// It stops.
    Stop,
}

/// Serves a client until it sends `done` or `stop_session`, or disconnects.
///
/// # Errors
///
/// If the connection breaks.
pub async fn serve_commands<S>(stream: &mut S, child: &ChildHandle) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(Next::Serve);
        }
        let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let answer = answer(word, rest, child).await;
        stream.write_all(format!("{answer}\n").as_bytes()).await?;
        match word {
            "done" => return Ok(Next::Serve),
            "stop_session" => return Ok(Next::Stop),
            _ => {}
        }
    }
}

async fn answer(word: &str, rest: &str, child: &ChildHandle) -> String {
    match word {
        "pid" => std::process::id().to_string(),
        "echo" => rest.to_owned(),
        "done" | "stop_session" => "ok".to_owned(),
        "label" => {
            child.label(rest);
            "ok".to_owned()
        }
        "long" => match child.long() {
            Ok(()) => "ok".to_owned(),
            Err(refused) => refused.to_string(),
        },
        "log" => {
            slog::info!(logger(), "{}", rest);
            "ok".to_owned()
        }
        "json" => match child.daemon().send(GetStatus::Board).await {
            Ok(report) => serde_json::to_string(&report).unwrap_or_else(|error| error.to_string()),
            Err(gone) => gone.to_string(),
        },
        "peek" => {
            let detail = Detail::Verbose;
            let peek = child.daemon().send(Peek { detail }).await;
            peek.unwrap_or_default().replace('\n', "|")
        }
        "make" => match File::create_new(rest) {
            Ok(_file) => "ok".to_owned(),
            Err(error) => error.to_string(),
        },
        "try" => {
            let (action, argument) = rest.split_once(' ').unwrap_or((rest, ""));
            attempt(action, argument)
        }
        "variables" => variables(),
        "root" => format!("{:?}", nix::unistd::setuid(nix::unistd::Uid::from_raw(0))),
        "attack" => crate::attack(rest),
        "panic" => panic!("panic on request"),
        "abort" => std::process::abort(),
        "exhaust_descriptors" => {
            keep_descriptors_exhausted(rest.to_owned());
            "ok".to_owned()
        }
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(rest.parse().unwrap_or(0))).await;
            "ok".to_owned()
        }
        // Ends only when the file exists, or when QUIT or KILL ends the child.
        "wait_for" => {
            wait_for_file(rest).await;
            "ok".to_owned()
        }
        _ => misbehave(word, rest, child).await.unwrap_or_else(|| "???".to_owned()),
    }
}

/// Returns the environment of this process.
pub(crate) fn variables() -> String {
    let mut variables: Vec<String> = std::env::vars_os()
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    variables.sort();
    variables.join(" ")
}

async fn wait_for_file(file: &str) {
    while !Path::new(file).exists() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
