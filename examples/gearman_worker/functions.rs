//! The functions that this example offers to Gearman clients.

use std::time::Duration;

use crate::worker::{GearmanJob, GearmanWorker, JobResult, SetupError};

/// The longest sleep, an hour.
const LONGEST: Duration = Duration::from_secs(3600);
/// The number of equal parts of a sleep. Progress is reported after each part.
const PARTS: u32 = 10;

/// Adds all functions to a worker.
///
/// | function | workload | result |
/// | --- | --- | --- |
/// | `reverse` | text, or any bytes | its characters, or its bytes, in reverse order |
/// | `wc` | text | its number of lines, words and bytes, as wc(1) counts them |
/// | `sleep` | milliseconds, up to an hour | the workload, after this time, with ten progress reports |
/// | `fail` | an error message | none: fails with that message |
///
/// # Errors
///
/// None, because the names are valid.
pub(crate) fn all(worker: GearmanWorker) -> Result<GearmanWorker, SetupError> {
    worker
        .add_function("reverse", |job| Ok(reverse(job.workload())))?
        .add_function("wc", |job| Ok(wc(job.workload())))?
        .add_function("sleep", sleep)?
        .add_function("fail", |job| Err(String::from_utf8_lossy(job.workload()).into()))
}

fn reverse(workload: &[u8]) -> Vec<u8> {
    match str::from_utf8(workload) {
        Ok(text) => text.chars().rev().collect::<String>().into_bytes(),
        Err(_not_utf8) => workload.iter().rev().copied().collect(),
    }
}

fn wc(workload: &[u8]) -> Vec<u8> {
    let lines = workload.iter().filter(|byte| **byte == b'\n').count();
    let words = workload.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    format!("{lines} {words} {}\n", workload.len()).into_bytes()
}

fn sleep(job: &mut GearmanJob<'_>) -> JobResult {
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
            "cannot sleep for {:?} milliseconds: expected a number from 0 to {}",
            text.trim(),
            LONGEST.as_millis()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_reversed_by_characters_and_other_data_by_bytes() {
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
    fn a_sleep_takes_a_number_of_milliseconds_up_to_an_hour() {
        assert_eq!(milliseconds(b"250\n"), Ok(Duration::from_millis(250)));
        assert_eq!(milliseconds(b"3600000"), Ok(LONGEST));
        for bad in ["", "-1", "soon", "3600001", "99999999999999999999"] {
            let refused = milliseconds(bad.as_bytes()).expect_err(bad);
            assert!(refused.contains(&format!("{bad:?}")), "{refused}");
        }
    }
}
