//! Counts threads on FreeBSD with sysctl(3), which does not return their names.

use std::mem::MaybeUninit;

use super::Thread;
use crate::error::{Error, Result};
use crate::process::{Pid, this_pid};

pub(super) fn is_alone() -> Result<bool> {
    let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, this_pid().as_raw()];
    let mut info = MaybeUninit::<libc::kinfo_proc>::zeroed();
    let mut length = size_of::<libc::kinfo_proc>();
    // SAFETY: `name` has the stated number of entries, `info` the stated number of bytes; no new
    // value is passed.
    let result = unsafe {
        libc::sysctl(
            name.as_ptr(),
            name.len() as libc::c_uint,
            info.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    };
    if result != 0 {
        return Err(Error::last("count the threads of this process"));
    }
    // SAFETY: kinfo_proc is made of integers and pointers; it was zeroed and then filled in.
    let info = unsafe { info.assume_init() };
    Ok(info.ki_numthreads == 1)
}

pub(super) fn others() -> Vec<Thread> {
    Vec::new()
}
