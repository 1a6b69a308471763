//! Lists open descriptors with `/proc/self/fd`.

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

pub(crate) const LISTS_ALL: bool = true;

pub(super) fn list() -> io::Result<Vec<(RawFd, String)>> {
    // Keep only the names, because each entry keeps the directory open. After the names have been
    // read, the directory's own descriptor is closed.
    let names = fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    let fds = names.iter().filter_map(|name| {
        let fd = name.to_str()?.parse().ok()?;
        // The directory's own descriptor is closed by now, so its link cannot be read.
        let target = fs::read_link(Path::new("/proc/self/fd").join(name)).ok()?;
        Some((fd, target.display().to_string()))
    });
    Ok(fds.collect())
}
