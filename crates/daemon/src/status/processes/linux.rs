//! The share of memory as Linux has it: `smaps_rollup`, see proc(5).

use std::fs;

/// The proportional set size in bytes; none if the process is gone, or may not be looked at.
pub(super) fn pss(pid: u32) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn parse(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_the_line_of_that_name() {
        let rollup = "00400000-7ffe ---p 00000000 00:00 0 [rollup]\n\
                      Rss:                 884 kB\n\
                      Pss:                 385 kB\n\
                      Pss_Dirty:            68 kB\n";
        assert_eq!(parse(rollup), Some(385 * 1024));
    }

    #[test]
    fn what_is_no_rollup_has_no_share() {
        for text in ["", "Pss:", "Pss: many kB", "Pss: 18446744073709551615 kB", "Pss: 12 MB"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn this_process_has_a_share() {
        assert!(pss(std::process::id()).is_some_and(|bytes| bytes > 0));
    }
}
