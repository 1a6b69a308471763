//! Lines of bounded length from a client that may send anything, at any pace.

use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio::time::timeout;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineRead {
    /// A line, without its end. What comes before the end of the stream is one, too.
    Line(Vec<u8>),
    /// More bytes than a line may have, and no end of it.
    TooLong,
    /// The client has closed, or the connection is broken.
    End,
}

/// Reads the next line, of at most so many bytes, from a client that has so long to say it. Who does
/// not has come to its end, in the middle of a line or not.
pub(super) async fn next_within<R>(reader: &mut R, most: usize, patience: Duration) -> LineRead
where
    R: AsyncBufRead + Unpin,
{
    timeout(patience, next(reader, most)).await.unwrap_or(LineRead::End)
}

/// Reads the next line, of at most so many bytes.
pub(super) async fn next<R: AsyncBufRead + Unpin>(reader: &mut R, most: usize) -> LineRead {
    let mut line = Vec::new();
    let room = most as u64 + 1;
    match reader.take(room).read_until(b'\n', &mut line).await {
        Err(_broken) => LineRead::End,
        Ok(0) => LineRead::End,
        Ok(_bytes) => {
            if line.pop_if(|last| *last == b'\n').is_none() && line.len() > most {
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
    fn who_does_not_finish_a_line_in_time_has_come_to_its_end() {
        use tokio::io::{AsyncWriteExt, BufReader, duplex};

        actix::System::new().block_on(async {
            let (mut client, daemon) = duplex(64);
            let mut daemon = BufReader::new(daemon);
            client.write_all(b"whole\nhal").await.unwrap();
            let patience = Duration::from_millis(20);
            let whole = next_within(&mut daemon, 64, patience).await;
            assert_eq!(whole, LineRead::Line(b"whole".to_vec()));
            assert_eq!(next_within(&mut daemon, 64, patience).await, LineRead::End);
            client.write_all(b"f\n").await.expect("it is still connected");
        });
    }

    #[test]
    fn a_line_of_the_most_bytes_is_read_and_a_longer_one_is_not() {
        let line = |text: &str| LineRead::Line(text.as_bytes().to_vec());
        assert_eq!(read_all(b"abcd\n\nef"), [line("abcd"), line(""), line("ef"), LineRead::End]);
        assert_eq!(read_all(b"abcde\n"), [LineRead::TooLong]);
        assert_eq!(read_all(b"abcdefghijkl"), [LineRead::TooLong]);
        assert_eq!(read_all(b""), [LineRead::End]);
    }
}
