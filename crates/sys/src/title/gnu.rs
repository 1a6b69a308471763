//! The title on Linux: written over the strings of the arguments and the environment.
//!
//! The kernel lays them end to end. `/proc/PID/cmdline` shows the arguments; but if the last byte of
//! their memory is not zero it shows all up to the first zero byte, into the environment's
//! (`get_mm_proctitle` in its `fs/proc/base.c`), at most a page.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::fork::company;

/// The kernel shows no more of a title than this.
const PAGE: usize = 4096;

static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(ptr::null_mut());
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`. The GNU C library hands every such function what it hands `main`, and no
/// other library does: hence `target_env = "gnu"`.
// SAFETY: the section is a list of pointers to functions of this signature, which this is.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = remember;

extern "C" fn remember(_: c_int, arguments: *mut *mut c_char, _: *mut *mut c_char) {
    ARGUMENTS.store(arguments, Ordering::Relaxed);
}

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

#[derive(Debug)]
pub(super) struct MemorySegment(RefCell<Claimed>);

#[derive(Debug)]
struct Claimed {
    memory: &'static mut [u8],
    /// Where the memory of the arguments ends.
    mark: usize,
    /// How many bytes the title had that is shown now.
    shown: usize,
}

impl MemorySegment {
    pub(super) fn claim() -> MemorySegment {
        MemorySegment(RefCell::new(claim().unwrap_or(Claimed {
            memory: &mut [],
            mark: 0,
            shown: 0,
        })))
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.0.borrow().memory.len().min(PAGE).saturating_sub(1)
    }

    #[inline]
    pub(super) fn show(&self, title: &str) {
        let Claimed { memory, mark, shown } = &mut *self.0.borrow_mut();
        if memory.is_empty() {
            return;
        }
        let former = (*shown).max(title.len());
        memory[title.len()..=former].fill(0);
        memory[..title.len()].copy_from_slice(title.as_bytes());
        // Past a short title, where nothing is shown any more, it tells the kernel that this is one.
        if title.len() + 1 < *mark {
            memory[*mark - 1] = b'.';
        }
        *shown = title.len();
    }
}

fn claim() -> Option<Claimed> {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    let alone = matches!(company(), Ok(None));
    if arguments.is_null() || !alone || CLAIMED.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: a read of a pointer; no other thread runs that could write it.
    let environment = unsafe { environ };
    // SAFETY: the first argument's pointer, or the null that ends the list.
    let start = unsafe { *arguments }.cast::<u8>();
    // SAFETY: `arguments` is the list that the C library gave, ended by a null.
    let mark = unsafe { length_from(start, arguments) };
    // SAFETY: `environ` is null or such a list.
    let length = mark + unsafe { length_from(start.wrapping_add(mark), environment) };
    if mark < 2 {
        return None;
    }
    // SAFETY: as above; no other thread reads the list meanwhile.
    unsafe { move_out(arguments) };
    // SAFETY: as above.
    unsafe { move_out(environment) };
    // SAFETY: `length` bytes from `start` are strings that lie end to end in one mapping, the
    // stack's, which is writable and stays. Neither list leads there any more.
    let memory = unsafe { slice::from_raw_parts_mut(start, length) };
    memory[mark - 1..].fill(0);
    Some(Claimed { shown: mark - 1, memory, mark })
}

/// Counts the bytes of the strings that lie end to end from `start` on, in the order of the list.
///
/// # Safety
///
/// `list` is null, or a list of pointers to strings, ended by a null.
unsafe fn length_from(start: *mut u8, list: *mut *mut c_char) -> usize {
    let mut length = 0;
    // SAFETY: the caller's promise.
    for entry in unsafe { entries(list) } {
        if entry.cast::<u8>() != start.wrapping_add(length) {
            break;
        }
        // SAFETY: an entry of the list is a string.
        let string = unsafe { CStr::from_ptr(*entry) };
        length += string.to_bytes_with_nul().len();
    }
    length
}

/// Puts copies, which stay for ever, in place of the strings of the list.
///
/// # Safety
///
/// As [`length_from`], and no other thread reads the list.
unsafe fn move_out(list: *mut *mut c_char) {
    // SAFETY: the caller's promise.
    for entry in unsafe { entries(list) } {
        // SAFETY: an entry of the list is a string.
        let string = unsafe { CStr::from_ptr(*entry) };
        *entry = string.to_owned().into_raw();
    }
}

/// # Safety
///
/// As [`length_from`]; and nobody else uses the list meanwhile.
unsafe fn entries<'a>(list: *mut *mut c_char) -> &'a mut [*mut c_char] {
    if list.is_null() {
        return &mut [];
    }
    let mut count = 0;
    loop {
        // SAFETY: the list goes on up to its null, which was not met yet.
        let entry = unsafe { list.add(count) };
        // SAFETY: as above.
        if unsafe { *entry }.is_null() {
            // SAFETY: so many entries are there, and nobody else uses them.
            return unsafe { slice::from_raw_parts_mut(list, count) };
        }
        count += 1;
    }
}

pub(super) fn set_comm(name: &CStr) {
    // prctl(2) names no error for it but a bad pointer.
    let _ = nix::sys::prctl::set_name(name);
}
