//! Counting threads on macOS: by what proc_pidinfo tells of our process. It names none of them.

use std::mem::MaybeUninit;

use super::Thread;
use crate::error::{Error, Result};
use crate::process::Pid;

pub(super) fn is_alone() -> Result<bool> {
    let mut told = MaybeUninit::<libc::proc_taskinfo>::zeroed();
    let length = size_of::<libc::proc_taskinfo>() as libc::c_int;
    let this = Pid::this().as_raw();
    // SAFETY: `told` has as many bytes as is said.
    let answer = unsafe {
        libc::proc_pidinfo(this, libc::PROC_PIDTASKINFO, 0, told.as_mut_ptr().cast(), length)
    };
    if answer != length {
        return Err(Error::last("count the threads of this process"));
    }
    // SAFETY: proc_taskinfo is made of integers; it was zeroed and then filled in.
    let told = unsafe { told.assume_init() };
    Ok(told.pti_threadnum == 1)
}

pub(super) fn others() -> Vec<Thread> {
    Vec::new()
}
