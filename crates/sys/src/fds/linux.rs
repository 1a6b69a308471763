//! Open descriptors by `/proc/self/fd`.

use std::fs;
use std::io;
use std::os::fd::RawFd;

pub(super) fn list() -> io::Result<Vec<(RawFd, String)>> {
    let entries: Vec<_> = fs::read_dir("/proc/self/fd")?.collect::<io::Result<_>>()?;
    let fds = entries.iter().filter_map(|entry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        // The descriptor that the directory was read by is closed now, and so leads nowhere.
        let target = fs::read_link(entry.path()).ok()?;
        Some((fd, target.display().to_string()))
    });
    Ok(fds.collect())
}
