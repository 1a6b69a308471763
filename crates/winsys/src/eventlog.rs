//! Writes records to the Windows event log.

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, HANDLE};
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    RegisterEventSourceW, ReportEventW,
};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, REG_DWORD, REG_EXPAND_SZ, RegDeleteKeyW, RegSetKeyValueW,
};

use crate::wide;

/// The message file that the sources are registered with. Every Windows installation has this file.
/// In this file, each of the message templates 1 to 1000 consists only of a placeholder for the
/// record's text.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";

/// The event id of all records of this crate.
const EVENT_ID: u32 = 1;

/// The severity of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// An operation failed.
    Error,
    /// A problem that does not stop the service.
    Warning,
    /// Normal operation.
    Information,
}

/// An open event source, to which records are written.
#[derive(Debug)]
pub struct EventLog(HANDLE);

// SAFETY: a handle to the event log may be used by any thread.
unsafe impl Send for EventLog {}
// SAFETY: a handle to the event log may be used by several threads at once.
unsafe impl Sync for EventLog {}

impl EventLog {
    /// Opens the event log for records of this source.
    ///
    /// # Errors
    ///
    /// The error that Windows returned.
    pub fn open(source: &str) -> io::Result<EventLog> {
        let source = wide(source);
        // SAFETY: null means the local computer, and the name ends in a zero.
        let handle = unsafe { RegisterEventSourceW(ptr::null(), source.as_ptr()) };
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(EventLog(handle)) }
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// The error that Windows returned, for example because the log is full.
    pub fn report(&self, severity: Severity, text: &str) -> io::Result<()> {
        let kind = match severity {
            Severity::Error => EVENTLOG_ERROR_TYPE,
            Severity::Warning => EVENTLOG_WARNING_TYPE,
            Severity::Information => EVENTLOG_INFORMATION_TYPE,
        };
        let text = wide(text);
        let texts = [text.as_ptr()];
        // SAFETY: the handle is open; the array contains one string, as stated, which ends in a
        // zero; the pointers to the user and to the raw data are null.
        let done = unsafe {
            ReportEventW(
                self.0,
                kind,
                0,
                EVENT_ID,
                ptr::null_mut(),
                1,
                0,
                texts.as_ptr(),
                ptr::null(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and not used afterwards.
        let _closed = unsafe { DeregisterEventSource(self.0) };
    }
}

fn key(source: &str) -> Vec<u16> {
    wide(&format!(r"SYSTEM\CurrentControlSet\Services\EventLog\Application\{source}"))
}

/// Registers a source, so that the event viewer shows the records of this source as they were
/// written. The call requires administrator rights, so make it in an installer.
///
/// # Errors
///
/// The error that Windows returned.
pub fn register_source(source: &str) -> io::Result<()> {
    let key = key(source);
    let messages = wide(MESSAGES);
    set(&key, "EventMessageFile", REG_EXPAND_SZ, &bytes(&messages))?;
    let kinds = u32::from(EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE);
    set(&key, "TypesSupported", REG_DWORD, &kinds.to_le_bytes())
}

/// Removes a source's registration. Succeeds if the source is not registered.
///
/// # Errors
///
/// The error that Windows returned.
pub fn unregister_source(source: &str) -> io::Result<()> {
    let key = key(source);
    // SAFETY: the root key is predefined by the system, and the key's path ends in a zero.
    match unsafe { RegDeleteKeyW(HKEY_LOCAL_MACHINE, key.as_ptr()) } {
        0 | ERROR_FILE_NOT_FOUND => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.cast_signed())),
    }
}

fn bytes(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

fn set(key: &[u16], name: &str, kind: u32, value: &[u8]) -> io::Result<()> {
    let name = wide(name);
    let length = u32::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the root key is predefined by the system, both names end in a zero, and the value has
    // the stated length.
    let error = unsafe {
        RegSetKeyValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            kind,
            value.as_ptr().cast(),
            length,
        )
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error.cast_signed())) }
}
