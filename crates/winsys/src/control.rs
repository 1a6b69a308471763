//! Sends controls with any control code to services.

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
