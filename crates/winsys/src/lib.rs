//! The Windows calls that a Windows service needs and the `windows-service` crate does not have, in
//! safe wrappers. On other systems the crate is empty.
//!
//! | item | purpose |
//! | --- | --- |
//! | `control` | sends any control code to a service, including INTERROGATE and PARAMCHANGE |
//! | `eventlog` | registers event sources and writes records to the event log |

#![cfg(windows)]

pub mod eventlog;

use std::io;

use windows_service::service::Service;
use windows_sys::Win32::System::Services::{ControlService, SERVICE_STATUS};

/// Sends a control to a service and returns the state code that the service last reported.
///
/// # Errors
///
/// The error of Windows' service control manager: 1052 if the service does not accept the control,
/// 1061 if the service cannot accept controls at the moment, 1062 if the service is not running, 5
/// if the handle lacks the access right.
pub fn control(service: &Service, code: u32) -> io::Result<u32> {
    let mut status = SERVICE_STATUS {
        dwServiceType: 0,
        dwCurrentState: 0,
        dwControlsAccepted: 0,
        dwWin32ExitCode: 0,
        dwServiceSpecificExitCode: 0,
        dwCheckPoint: 0,
        dwWaitHint: 0,
    };
    // SAFETY: the handle is that of an open service, and the status is a valid place to write to.
    let done = unsafe { ControlService(service.raw_handle(), code, &raw mut status) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(status.dwCurrentState) }
}

/// Returns the text as a zero-terminated UTF-16 string.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().filter(|unit| *unit != 0).chain([0]).collect()
}
