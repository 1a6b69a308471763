//! Reads lines of limited length from a client that is not trusted.

use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio::time::timeout;

/// The result of reading a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineRead {
    /// A line, without its newline. The last line of the stream may have no newline.
    Line(Vec<u8>),
    /// The line is longer than the maximum.
    TooLong,
    /// The client has disconnected, the connection has failed, or a timeout has expired.
    End,
}

/// Reads the next line of at most `max` bytes. Returns `End` if the line is not complete within the
/// timeout.
pub(super) async fn next_within<R>(reader: &mut R, max: usize, limit: Duration) -> LineRead
where
    R: AsyncBufRead + Unpin,
{
    timeout(limit, next(reader, max)).await.unwrap_or(LineRead::End)
}

/// Reads the next line of at most `max` bytes.
pub(super) async fn next<R: AsyncBufRead + Unpin>(reader: &mut R, max: usize) -> LineRead {
    let mut line = Vec::new();
    let limit = max as u64 + 1;
    match reader.take(limit).read_until(b'\n', &mut line).await {
        Err(_broken) => LineRead::End,
        Ok(0) => LineRead::End,
        Ok(_bytes) => {
            if line.pop_if(|last| *last == b'\n').is_none() && line.len() > max {
                return LineRead::TooLong;
            }
            LineRead::Line(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut bytes: &[u8]) -> Vec<LineRead> {
        let mut read = Vec::new();
        futures::executor::block_on(async {
            loop {
                read.push(next(&mut bytes, 4).await);
                if matches!(read.last(), Some(LineRead::TooLong | LineRead::End)) {
                    return;
                }
            }
        });
        read
    }

    #[test]
    fn next_within_returns_end_if_a_line_is_not_complete_within_the_timeout() {
        use tokio::io::{AsyncWriteExt, BufReader, duplex};

        actix::System::new().block_on(async {
            let (mut client, daemon) = duplex(64);
            let mut daemon = BufReader::new(daemon);
            client.write_all(b"whole\nhal").await.unwrap();
            let patience = Duration::from_millis(20);
            let whole = next_within(&mut daemon, 64, patience).await;
            assert_eq!(whole, LineRead::Line(b"whole".to_vec()));
            assert_eq!(next_within(&mut daemon, 64, patience).await, LineRead::End);
            client.write_all(b"f\n").await.expect("still connected");
        });
    }

    #[test]
    fn a_line_of_maximum_length_is_read_and_a_longer_line_is_refused() {
        let line = |text: &str| LineRead::Line(text.as_bytes().to_vec());
        assert_eq!(read_all(b"abcd\n\nef"), [line("abcd"), line(""), line("ef"), LineRead::End]);
        assert_eq!(read_all(b"abcde\n"), [LineRead::TooLong]);
        assert_eq!(read_all(b"abcdefghijkl"), [LineRead::TooLong]);
        assert_eq!(read_all(b""), [LineRead::End]);
    }
}
