//! Resolves addresses to names with the program image of this process and its debug information.

use std::ffi::c_void;
use std::fmt;

/// A frame of a backtrace: the function that was running, or the caller of the previous frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StackFrame {
    /// The executed address, or the return address of the previous frame.
    pub address: usize,
    /// The function's name, demangled and without the compiler's hash; `None` if it is unknown.
    pub function: Option<String>,
    /// The source file; `None` if there is no debug information.
    pub file: Option<String>,
    /// The line number, starting at 1; `None` if there is no debug information.
    pub line: Option<u32>,
}

impl StackFrame {
    /// Creates a frame of which only the address is known.
    #[must_use]
    pub fn at(address: usize) -> StackFrame {
        StackFrame { address, function: None, file: None, line: None }
    }
}

impl fmt::Display for StackFrame {
    /// Writes `function at file:line`. Writes the address instead of an unknown function, and
    /// leaves out an unknown file or line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " at {file}:{line}"),
            (Some(file), None) => write!(f, " at {file}"),
            (None, _) => Ok(()),
        }
    }
}

/// Returns the addresses of a backtrace as [`symbolise_each`] expects them. The first address of a
/// backtrace is not a return address and may be the first byte of its function, so 1 is added to
/// it.
pub fn return_addresses(backtrace: &[usize]) -> impl Iterator<Item = usize> {
    let addresses = backtrace.iter().enumerate();
    addresses.map(|(index, address)| if index == 0 { address.saturating_add(1) } else { *address })
}

/// Resolves return addresses to names, and passes each frame to `visit`, together with the index of
/// its address. The byte before a return address belongs to the function that made the call.
///
/// Each address results in one frame for its function and one frame for each function that is
/// inlined there, innermost first. An unknown address results in a frame with the address only. The
/// traced process must be forked from this process or from the same process as this one. Libraries
/// that the traced process has loaded after the fork (dlopen(3)) are unknown. The addresses are
/// only looked up, never dereferenced, so any numbers may be passed.
///
/// This function reads the program's debug information. This can take a second, and needs several
/// times the size of the debug information in memory, much of which the allocator keeps. So call
/// the function in a process that exits afterwards. It also takes a lock and allocates, so never
/// call it in a signal handler.
pub fn symbolise_each(return_addresses: &[usize], mut visit: impl FnMut(usize, StackFrame)) {
    for (index, &address) in return_addresses.iter().enumerate() {
        let mut is_unknown = true;
        backtrace::resolve(address as *mut c_void, |symbol| {
            is_unknown = false;
            let frame = StackFrame {
                address,
                function: symbol.name().map(|name| format!("{name:#}")),
                file: symbol.filename().map(|file| file.display().to_string()),
                line: symbol.lineno(),
            };
            visit(index, frame);
        });
        if is_unknown {
            visit(index, StackFrame::at(address));
        }
    }
    // Clear the cache, because it keeps debug information mapped, and its list of loaded libraries
    // can become outdated.
    backtrace::clear_symbol_cache();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbolised(addresses: &[usize]) -> Vec<StackFrame> {
        let mut frames = Vec::new();
        symbolise_each(addresses, |_index, frame| frames.push(frame));
        frames
    }

    fn frame(function: Option<&str>, file: Option<&str>, line: Option<u32>) -> String {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (function, file) = (owned(function), owned(file));
        StackFrame { address: 0x1f, function, file, line }.to_string()
    }

    #[test]
    fn a_frame_displays_its_known_parts() {
        assert_eq!(frame(Some("main"), Some("src/main.rs"), Some(7)), "main at src/main.rs:7");
        assert_eq!(frame(Some("main"), Some("src/main.rs"), None), "main at src/main.rs");
        assert_eq!(frame(Some("read"), None, Some(7)), "read");
        assert_eq!(frame(None, None, None), "0x1f");
    }

    #[test]
    fn the_address_of_the_first_byte_of_a_function_resolves_to_this_function() {
        let address = symbolised as fn(&[usize]) -> Vec<StackFrame> as usize;
        let frames = symbolised(&return_addresses(&[address]).collect::<Vec<_>>());
        let named = |frame: &StackFrame| {
            frame.function.as_deref().is_some_and(|name| name.ends_with("tests::symbolised"))
        };
        assert!(frames.iter().any(named), "{frames:#?}");
    }

    #[test]
    fn unknown_addresses_result_in_frames_without_a_name() {
        let nowhere = [0, 1, 4096, usize::MAX - 1, usize::MAX];
        let frames = symbolised(&nowhere);
        let of_frames: Vec<usize> = frames.iter().map(|frame| frame.address).collect();
        assert_eq!(of_frames, nowhere);
        assert!(frames.iter().all(|frame| frame.function.is_none()), "{frames:#?}");
    }

    #[test]
    fn any_number_can_be_looked_up() {
        // A fixed sequence of numbers from a linear congruential generator (Knuth's MMIX).
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state as usize
        };
        let near = any_number_can_be_looked_up as fn() as usize;
        let hostile: Vec<usize> = (0..200).map(|_| next()).collect();
        // Addresses within and around the program's own functions.
        let close = (0..200).map(|_| near.wrapping_add(next() % (1 << 26)).wrapping_sub(1 << 25));
        let addresses: Vec<usize> = hostile.iter().copied().chain(close).collect();
        let mut seen = vec![false; addresses.len()];
        symbolise_each(&addresses, |index, frame| {
            assert_eq!(frame.address, addresses[index]);
            seen[index] = true;
        });
        assert!(seen.into_iter().all(|seen| seen), "each address results in a frame");
    }
}
