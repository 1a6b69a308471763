//! The line protocol of `eg/preforking` and `eg/forking`: a word a line in, `\r\n` lines out.
//!
//! Words are case-insensitive and end with `\n`, `\r\n` or `\r`. What a server answers differs a
//! little between the two, so it is an argument: see [`Answers`].

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest line that is taken.
const LINE_MAX: usize = 64 * 1024;

/// A word of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The pid of the process that answers.
    Pid,
    /// `PONG`.
    Ping,
    /// The pid of the parent.
    Parent,
    /// The log file's path.
    Logfile,
    /// An id of this process' System.
    Kernel,
    /// The daemon's status.
    Status,
    /// The inside of the process.
    Peek,
    /// `OK`, and the connection is closed.
    Done,
    /// Anything else: `???`.
    Other,
}

impl Word {
    /// Reads a line without its end.
    #[must_use]
    pub fn of(line: &str) -> Self {
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

/// What a server answers.
#[expect(async_fn_in_trait, reason = "used in this package alone, on one thread")]
pub trait Answers {
    /// The parent's pid.
    fn parent(&self) -> u32;
    /// The log file.
    fn logfile(&self) -> PathBuf;
    /// The answer to KERNEL.
    fn kernel(&self) -> String;
    /// The answer to STATUS, without its last line end.
    async fn status(&self) -> String;
    /// The answer to PEEK, without its last line end.
    async fn peek(&self) -> String;
}

/// Talks until the client says DONE or closes.
///
/// # Errors
///
/// When the connection breaks, or a line is longer than 64 KiB.
pub async fn talk<S>(stream: &mut S, answers: &impl Answers) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut lines = Lines::default();
    while let Some(line) = lines.next(stream).await? {
        let word = Word::of(&line);
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
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        if word == Word::Done {
            return Ok(());
        }
    }
    Ok(())
}

/// Splits what comes into lines that end with `\n`, `\r\n` or `\r`.
#[derive(Debug, Default)]
struct Lines {
    unread: Vec<u8>,
    /// A `\n` right after a `\r` belongs to it.
    after_cr: AfterCr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum AfterCr {
    #[default]
    No,
    Yes,
}

impl Lines {
    async fn next<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<Option<String>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.unread.len() > LINE_MAX {
                let why = format!("a line of more than {LINE_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
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
        let mut lines = Lines::default();
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
    fn a_line_ends_with_lf_crlf_or_cr_wherever_it_is_cut() {
        assert_eq!(lines(&["a\nb\r\nc\rd\n"]), ["a", "b", "c", "d"]);
        assert_eq!(lines(&["a\r", "\nb\r", "c\n"]), ["a", "b", "c"]);
        assert_eq!(lines(&["\r\n\r\n"]), ["", ""]);
    }

    #[test]
    fn words_are_known_in_any_case() {
        assert_eq!(Word::of("pId"), Word::Pid);
        assert_eq!(Word::of(" ping "), Word::Ping);
        assert_eq!(Word::of("DONGS!!"), Word::Other);
    }
}
