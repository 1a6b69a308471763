//! Counting threads on FreeBSD: by what sysctl(3) tells of our process. It names none of them.

use std::mem::MaybeUninit;

use super::Thread;
use crate::error::{Error, Result};
use crate::process::Pid;

pub(super) fn is_alone() -> Result<bool> {
    let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, Pid::this().as_raw()];
    let mut told = MaybeUninit::<libc::kinfo_proc>::zeroed();
    let mut length = size_of::<libc::kinfo_proc>();
    // SAFETY: `name` has as many numbers as is said, `told` as many bytes; nothing is set.
    let answer = unsafe {
        libc::sysctl(
            name.as_ptr(),
            name.len() as libc::c_uint,
            told.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    };
    if answer != 0 {
        return Err(Error::last("count the threads of this process"));
    }
    // SAFETY: kinfo_proc is made of integers and pointers; it was zeroed and then filled in.
    let told = unsafe { told.assume_init() };
    Ok(told.ki_numthreads == 1)
}

pub(super) fn others() -> Vec<Thread> {
    Vec::new()
}
