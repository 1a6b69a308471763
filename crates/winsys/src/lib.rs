//! What a Windows service asks of the operating system beyond its service manager, one call a
//! wrapper. Elsewhere the crate is empty.
//!
//! | rooms | for |
//! | --- | --- |
//! | `control` | sending a service any control, INTERROGATE and PARAMCHANGE too |
//! | `eventlog` | the event log: its sources, and records |

#![cfg(windows)]

pub mod control;
pub mod eventlog;

/// A text as Windows takes it.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().filter(|unit| *unit != 0).chain([0]).collect()
}
