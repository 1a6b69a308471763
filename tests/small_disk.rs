//! A small file system of its own, which a test can fill. Test programs include this file by its
//! path.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system, which is unmounted at the end.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts a file system of this size. Returns `None`, and prints why, if this process may not.
    pub(crate) fn mount(kibibytes: u32) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().expect("a directory for the file system");
        let size = format!("size={kibibytes}k");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(dir));
        }
        let _ = writeln!(io::stderr(), "skipped: only root can mount a file system");
        None
    }

    /// Returns the root directory of the file system.
    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of the file that [`fill`](SmallDisk::fill) extends.
    pub(crate) fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Fills the file system.
    pub(crate) fn fill(&self) {
        let mut filler =
            File::options().append(true).create(true).open(self.filler()).expect("opened");
        let filled = io::copy(&mut io::repeat(b'-'), &mut filler).expect_err("the disk is full");
        assert_eq!(filled.kind(), io::ErrorKind::StorageFull);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(self.root()).status();
    }
}
