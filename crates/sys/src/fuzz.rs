//! Entry points of the fuzz targets, see `fuzz/` in the repository: the page for backtraces, which
//! children can write, and the contents of a pid file.
//!
//! An input must never cause a panic.

use crate::pidfile::parse_pid;
use crate::trace::check_page;

/// Reads bytes as the page for backtraces.
pub fn trace_page(bytes: &[u8]) {
    check_page(bytes);
}

/// Reads bytes as the contents of a pid file.
pub fn pidfile(bytes: &[u8]) {
    if let Some(pid) = parse_pid(bytes) {
        assert!(pid.as_raw() > 0);
    }
}

#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;

#[cfg(test)]
mod tests {
    use super::fuzzing::decodes_any_bytes;

    #[test]
    fn a_page_for_backtraces_with_arbitrary_contents_is_read() {
        decodes_any_bytes("trace_page", super::trace_page);
    }

    #[test]
    fn a_pid_file_with_arbitrary_contents_is_read() {
        decodes_any_bytes("pidfile", super::pidfile);
    }
}
