//! Makes this process large.

/// Allocates this many MiB of memory, writes to each page of it, and never frees it.
pub(crate) fn touch(megabytes: usize) {
    const PAGE: usize = 4096;
    let mut memory = vec![0_u8; megabytes * 1024 * 1024];
    for page in memory.chunks_mut(PAGE) {
        page[0] = 1;
    }
    std::hint::black_box(memory.leak());
}
