//! What this worker can do. None of it knows how jobs come here.

use std::time::Duration;

use crate::worker::{Job, Outcome, Unfit, Worker};

/// The longest sleep: an hour.
const LONGEST: Duration = Duration::from_secs(3600);
/// In how many parts one sleeps.
const PARTS: u32 = 10;

/// Adds all of them to a worker.
///
/// | function | workload | result |
/// | --- | --- | --- |
/// | `reverse` | text, or any bytes | its characters, or bytes, from the last to the first |
/// | `wc` | text | how many lines, words and bytes it has, as wc(1) counts |
/// | `sleep` | milliseconds, up to an hour of them | what it was given, when they are over; tells at each tenth |
/// | `fail` | the words to fail with | none |
///
/// # Errors
///
/// None: these are names for gearmand.
pub(crate) fn all(worker: Worker) -> Result<Worker, Unfit> {
    worker
        .can("reverse", |job| Ok(reverse(job.workload())))?
        .can("wc", |job| Ok(wc(job.workload())))?
        .can("sleep", sleep)?
        .can("fail", |job| Err(String::from_utf8_lossy(job.workload()).into()))
}

fn reverse(workload: &[u8]) -> Vec<u8> {
    match str::from_utf8(workload) {
        Ok(text) => text.chars().rev().collect::<String>().into_bytes(),
        Err(_no_text) => workload.iter().rev().copied().collect(),
    }
}

fn wc(workload: &[u8]) -> Vec<u8> {
    let lines = workload.iter().filter(|byte| **byte == b'\n').count();
    let words = workload.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    format!("{lines} {words} {}\n", workload.len()).into_bytes()
}

fn sleep(job: &mut Job<'_>) -> Outcome {
    let time = milliseconds(job.workload())?;
    for part in 1..=PARTS {
        std::thread::sleep(time / PARTS);
        job.progress(part, PARTS)?;
    }
    Ok(job.workload().to_vec())
}

fn milliseconds(workload: &[u8]) -> Result<Duration, String> {
    let text = String::from_utf8_lossy(workload);
    let number = text.trim().parse().ok().map(Duration::from_millis);
    number.filter(|time| *time <= LONGEST).ok_or_else(|| {
        format!(
            "cannot sleep {:?} milliseconds: 0 to {} are right",
            text.trim(),
            LONGEST.as_millis()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_reversed_by_characters_and_anything_else_by_bytes() {
        let table: [(&[u8], &[u8]); 4] = [
            (b"", b""),
            (b"gearman", b"namraeg"),
            ("für".as_bytes(), "rüf".as_bytes()),
            (b"\xff\x00a", b"a\x00\xff"),
        ];
        for (workload, reversed) in table {
            assert_eq!(reverse(workload), reversed);
        }
    }

    #[test]
    fn lines_words_and_bytes_are_counted_as_wc_does() {
        let table: [(&[u8], &str); 4] = [
            (b"", "0 0 0\n"),
            (b"no end", "0 2 6\n"),
            (b"one\n two\t three\n", "2 3 16\n"),
            (b"\n\n", "2 0 2\n"),
        ];
        for (workload, counted) in table {
            assert_eq!(wc(workload), counted.as_bytes());
        }
    }

    #[test]
    fn milliseconds_are_a_number_of_up_to_an_hour() {
        assert_eq!(milliseconds(b"250\n"), Ok(Duration::from_millis(250)));
        assert_eq!(milliseconds(b"3600000"), Ok(LONGEST));
        for bad in ["", "-1", "soon", "3600001", "99999999999999999999"] {
            let refused = milliseconds(bad.as_bytes()).expect_err(bad);
            assert!(refused.contains(&format!("{bad:?}")), "{refused}");
        }
    }
}
