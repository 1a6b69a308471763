//! Counts threads on macOS with proc_pidinfo(PROC_PIDTASKINFO), which returns the number of threads
//! but not their names.

use std::mem::MaybeUninit;

use super::Thread;
use crate::error::{Error, Result};
use crate::process::{Pid, this_pid};

pub(super) fn is_alone() -> Result<bool> {
    let mut info = MaybeUninit::<libc::proc_taskinfo>::zeroed();
    let length = size_of::<libc::proc_taskinfo>() as libc::c_int;
    let this = this_pid().as_raw();
    // SAFETY: `info` has the stated number of bytes.
    let result = unsafe {
        libc::proc_pidinfo(this, libc::PROC_PIDTASKINFO, 0, info.as_mut_ptr().cast(), length)
    };
    if result != length {
        return Err(Error::last("count the threads of this process"));
    }
    // SAFETY: proc_taskinfo is made of integers; it was zeroed and then filled in.
    let info = unsafe { info.assume_init() };
    Ok(info.pti_threadnum == 1)
}

pub(super) fn others() -> Vec<Thread> {
    Vec::new()
}
