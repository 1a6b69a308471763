//! Tests what the parent does when a directory of its files does not answer, as one on a network
//! file system whose server has gone: it serves on.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::harness::{Process, Signal, TestProgram, skipped, until};

/// A directory that is covered by a file system whose server (this process) never answers.
struct HangingDirectory {
    path: PathBuf,
    /// Calls that wait for the file system return when this is closed.
    _server: File,
}

impl HangingDirectory {
    /// Covers the directory. Returns `None`, and prints why, if this process may not.
    fn cover(path: &Path) -> Option<HangingDirectory> {
        let cover = || {
            let server = File::options().read(true).write(true).open("/dev/fuse")?;
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
            mount(Some("hanging"), path, Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
            Ok(HangingDirectory { path: path.to_owned(), _server: server })
        };
        let covered: std::io::Result<HangingDirectory> = cover();
        covered.inspect_err(|error| skipped(&format!("cannot mount with FUSE: {error}"))).ok()
    }
}

impl Drop for HangingDirectory {
    fn drop(&mut self) {
        let _unmounted = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_check_of_the_files_that_does_not_return_does_not_block_the_parent() {
    let files = "pidfile=DIR/far/pid control=DIR/far/control board_file=DIR/far/board";
    let start = TestProgram::pool().logged().options("start=1").options(files);
    let far = start.dir().join("far");
    fs::create_dir(&far).unwrap();
    let mut daemon = start.start();
    let Some(hanging) = HangingDirectory::cover(&far) else { return };
    let parent = daemon.parent();
    for reason in ["not done within 2s", "not started, because the previous call has not returned"]
    {
        parent.signal(Signal::SIGHUP);
        let error = format!("cannot check the files: {reason}");
        until(&format!("{error:?} is logged, and the parent answers until then"), || {
            assert_eq!(daemon.report()["phase"], "running");
            daemon.log().contains(&error).then_some(())
        });
    }
    assert_eq!(daemon.client().ask("echo served"), "served");
    drop(hanging);
    daemon.stop();
    assert_eq!(fs::read_dir(far).unwrap().count(), 1, "the board file stays");
}

/// Returns whether a thread for blocking calls of the process waits for a file system.
fn is_opening(process: Process) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.0)).unwrap();
    threads.map(|thread| thread.unwrap().path()).any(|thread| {
        // The thread may have ended.
        let read = |file| fs::read_to_string(thread.join(file)).unwrap_or_default();
        let waits_in = read("wchan");
        read("comm").trim_end() == "blocking-call" && !["", "0"].contains(&waits_in.as_str())
    })
}

#[test]
fn a_log_that_cannot_be_reopened_because_its_directory_hangs_does_not_block_the_parent() {
    let start = TestProgram::solo().options("logfile=DIR/far/log");
    let far = start.dir().join("far");
    fs::create_dir(&far).unwrap();
    let mut daemon = start.start();
    fs::hard_link(far.join("log"), daemon.logfile()).unwrap();
    let Some(hanging) = HangingDirectory::cover(&far) else { return };
    daemon.parent().signal(Signal::SIGHUP);
    daemon.wait_for_log("reopening logs");
    // Otherwise it could be opened after the end of the file system.
    until("the log is being opened", || is_opening(daemon.parent()).then_some(()));
    assert_eq!(daemon.report()["phase"], "running");
    assert!(!daemon.log().contains("cannot reopen"), "the log is not opened yet");
    drop(hanging);
    daemon.wait_for_log("cannot reopen the log file");
    daemon.stop();
}
