//! The line protocol of `eg/preforking` and `eg/forking`, two example servers of
//! POE::Component::Daemon. Each line of the client is one word. Words are case-insensitive and end
//! with `\n`, `\r\n` or `\r`. Answers end with `\r\n`. The two servers differ in some of their
//! [`Answers`].

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::patiently;

/// The maximum length of a line.
const LINE_MAX: usize = 64 * 1024;

/// A word of the protocol. The description of each variant is the answer to the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The pid of the answering process.
    Pid,
    /// `PONG`.
    Ping,
    /// The pid of the parent.
    Parent,
    /// The path of the log file.
    Logfile,
    /// The pid and the id of this process's System (`forking`), or `???` (`preforking`).
    Kernel,
    /// The status of the daemon.
    Status,
    /// The internal state of the process (`preforking`), or `???` (`forking`).
    Peek,
    /// `OK`, and then the server closes the connection.
    Done,
    /// `???`, the answer to any other word.
    Other,
}

impl Word {
    /// Parses a line whose line end has been removed.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        match line.trim().to_ascii_uppercase().as_str() {
            "PID" => Word::Pid,
            "PING" => Word::Ping,
            "PARENT" => Word::Parent,
            "LOGFILE" => Word::Logfile,
            "KERNEL" => Word::Kernel,
            "STATUS" => Word::Status,
            "PEEK" => Word::Peek,
            "DONE" => Word::Done,
            _ => Word::Other,
        }
    }
}

/// The answers that depend on the server.
#[expect(async_fn_in_trait, reason = "used only in this package, on one thread")]
pub trait Answers {
    /// Returns the pid of the parent.
    fn parent(&self) -> u32;
    /// Returns the path of the log file.
    fn logfile(&self) -> PathBuf;
    /// Returns the answer to KERNEL.
    fn kernel(&self) -> String;
    /// Returns the answer to STATUS, without the last line end.
    async fn status(&self) -> String;
    /// Returns the answer to PEEK, without the last line end.
    async fn peek(&self) -> String;
}

/// Serves a client until it sends DONE, closes the connection, or is silent for
/// [`PATIENCE`](crate::PATIENCE).
///
/// # Errors
///
/// If the connection breaks, or a line is longer than 64 KiB.
pub async fn talk<S>(stream: &mut S, answers: &impl Answers) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut lines = LineSplitter::default();
    while let Some(line) = patiently(lines.next(stream)).await? {
        let word = Word::parse(&line);
        let answer = match word {
            Word::Pid => std::process::id().to_string(),
            Word::Ping => "PONG".to_owned(),
            Word::Parent => answers.parent().to_string(),
            Word::Logfile => answers.logfile().display().to_string(),
            Word::Kernel => answers.kernel(),
            Word::Status => answers.status().await,
            Word::Peek => answers.peek().await,
            Word::Done => "OK".to_owned(),
            Word::Other => "???".to_owned(),
        };
        patiently(stream.write_all(format!("{answer}\r\n").as_bytes())).await?;
        if word == Word::Done {
            return Ok(());
        }
    }
    Ok(())
}

/// Splits input into lines that end with `\n`, `\r\n` or `\r`.
#[derive(Debug, Default)]
struct LineSplitter {
    unread: Vec<u8>,
    /// Whether the last line ended with `\r`. A `\n` that follows belongs to the same line end.
    after_cr: AfterCr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum AfterCr {
    #[default]
    No,
    Yes,
}

impl LineSplitter {
    async fn next<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<Option<String>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.unread.len() > LINE_MAX {
                let reason = format!("a line has more than {LINE_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            if stream.read_buf(&mut self.unread).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> Option<String> {
        if self.after_cr == AfterCr::Yes && !self.unread.is_empty() {
            self.after_cr = AfterCr::No;
            if self.unread[0] == b'\n' {
                self.unread.remove(0);
            }
        }
        let end = self.unread.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
        let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.after_cr = if self.unread[end] == b'\r' { AfterCr::Yes } else { AfterCr::No };
        self.unread.drain(..=end);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&str]) -> Vec<String> {
        let mut lines = LineSplitter::default();
        let mut taken = Vec::new();
        for chunk in chunks {
            lines.unread.extend_from_slice(chunk.as_bytes());
            while let Some(line) = lines.take() {
                taken.push(line);
            }
        }
        taken
    }

    #[test]
    fn lines_end_with_lf_crlf_or_cr_across_reads() {
        assert_eq!(lines(&["a\nb\r\nc\rd\n"]), ["a", "b", "c", "d"]);
        assert_eq!(lines(&["a\r", "\nb\r", "c\n"]), ["a", "b", "c"]);
        assert_eq!(lines(&["\r\n\r\n"]), ["", ""]);
    }

    #[test]
    fn words_are_case_insensitive() {
        assert_eq!(Word::parse("pId"), Word::Pid);
        assert_eq!(Word::parse(" ping "), Word::Ping);
        assert_eq!(Word::parse("DONGS!!"), Word::Other);
    }
}
