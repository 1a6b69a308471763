//! The Windows calls that a Windows service needs and the `windows-service` crate does not have, in
//! safe wrappers. On other systems the crate is empty.
//!
//! | module | purpose |
//! | --- | --- |
//! | `control` | sends any control code to a service, including INTERROGATE and PARAMCHANGE |
//! | `eventlog` | registers event sources and writes records to the event log |

#![cfg(windows)]

pub mod control;
pub mod eventlog;

/// Returns the text as a zero-terminated UTF-16 string.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().filter(|unit| *unit != 0).chain([0]).collect()
}
