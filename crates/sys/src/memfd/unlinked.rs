//! Creates memory files as temporary files that are unlinked immediately.

use std::env;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::this_pid;

static CREATED: AtomicU32 = AtomicU32::new(0);

pub(super) fn filled(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = empty(name)?;
    super::write_all(&file, bytes)?;
    Ok(file)
}

pub(super) fn empty(name: &str) -> io::Result<OwnedFd> {
    if name.contains(['/', '\0']) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let number = CREATED.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!(".{name}.{}.{number}", this_pid()));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file.into())
}
