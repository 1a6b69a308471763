//! The event log of Windows.

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

/// A file of every Windows whose messages 1 to 1000 are nothing but the record's own text.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";

/// The number of all our records.
const EVENT: u32 = 1;

/// How grave a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gravity {
    /// Something has failed.
    Error,
    /// Something is amiss.
    Warning,
    /// All is well.
    Information,
}

/// A source of records in the event log.
#[derive(Debug)]
pub struct EventLog(HANDLE);

// SAFETY: a handle to the event log may be used by any thread.
unsafe impl Send for EventLog {}
// SAFETY: and by several at once.
unsafe impl Sync for EventLog {}

impl EventLog {
    /// Opens the log for records of this source.
    ///
    /// # Errors
    ///
    /// What Windows says.
    pub fn open(source: &str) -> io::Result<EventLog> {
        let source = wide(source);
        // SAFETY: null is this machine, and the name ends in a zero.
        let handle = unsafe { RegisterEventSourceW(ptr::null(), source.as_ptr()) };
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(EventLog(handle)) }
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// What Windows says: the log may be full.
    pub fn report(&self, gravity: Gravity, text: &str) -> io::Result<()> {
        let kind = match gravity {
            Gravity::Error => EVENTLOG_ERROR_TYPE,
            Gravity::Warning => EVENTLOG_WARNING_TYPE,
            Gravity::Information => EVENTLOG_INFORMATION_TYPE,
        };
        let text = wide(text);
        let texts = [text.as_ptr()];
        // SAFETY: the handle is open, and there is one text, which ends in a zero; no user, no bytes.
        let done = unsafe {
            ReportEventW(self.0, kind, 0, EVENT, ptr::null_mut(), 1, 0, texts.as_ptr(), ptr::null())
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and this is its end.
        let _closed = unsafe { DeregisterEventSource(self.0) };
    }
}

fn key(source: &str) -> Vec<u16> {
    wide(&format!(r"SYSTEM\CurrentControlSet\Services\EventLog\Application\{source}"))
}

/// Makes a source known, so that its records are shown as they were written. For who installs a
/// service; it needs an administrator.
///
/// # Errors
///
/// What Windows says.
pub fn register_source(source: &str) -> io::Result<()> {
    let key = key(source);
    let messages = wide(MESSAGES);
    set(&key, "EventMessageFile", REG_EXPAND_SZ, &bytes(&messages))?;
    let kinds = u32::from(EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE);
    set(&key, "TypesSupported", REG_DWORD, &kinds.to_le_bytes())
}

/// Forgets a source; one that is not known is none.
///
/// # Errors
///
/// What Windows says.
pub fn forget_source(source: &str) -> io::Result<()> {
    let key = key(source);
    // SAFETY: the root is one of the system's own, and the key's path ends in a zero.
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
    // SAFETY: the root is one of the system's own, both names end in a zero, and the value is as long
    // as is said.
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
