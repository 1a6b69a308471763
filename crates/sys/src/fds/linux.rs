//! Lists open descriptors with `/proc/self/fd`.

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

pub(super) fn list() -> io::Result<Vec<(RawFd, String)>> {
    // An entry keeps the directory open: its descriptor is closed after all names have been read.
    let names = fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    let fds = names.iter().filter_map(|name| {
        let fd = name.to_str()?.parse().ok()?;
        // The descriptor of the directory is closed by now.
        let target = fs::read_link(Path::new("/proc/self/fd").join(name)).ok()?;
        Some((fd, target.display().to_string()))
    });
    Ok(fds.collect())
}
