//! The names of addresses, found in this process's own image and its debug information.

use std::ffi::c_void;
use std::fmt;

/// A frame of a backtrace: a function that was running, or had called the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frame {
    /// Where it was, or where the one before it returns to.
    pub address: usize,
    /// The function's name, demangled and without the compiler's hash; `None` if nothing tells it.
    pub function: Option<String>,
    /// The source file; `None` without debug information.
    pub file: Option<String>,
    /// The line in it, from 1 on.
    pub line: Option<u32>,
}

impl fmt::Display for Frame {
    /// Writes `function at file:line`, without what is not known.
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

/// Finds the names of a backtrace's addresses, the first of which is where the process was and the
/// others where calls return to, as [`Asker::take`](super::Asker::take) gives them.
///
/// An address has a frame for the function and one for each that is inlined there, innermost first;
/// one that nothing is known of has a frame with the address alone. That holds for a process that is
/// forked from the same one as this: what it has loaded since (dlopen(3)) is unknown here.
///
/// It reads the program's debug information, which may take a second and, while it does, memory of
/// some times its size: call it where waiting is no harm. It takes a lock and allocates: never call
/// it in a signal handler.
#[must_use]
pub fn symbolise(addresses: &[usize]) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(addresses.len());
    for (index, &address) in addresses.iter().enumerate() {
        // The crate takes every address for one that a call returns to, and looks at the byte before
        // it. The first is not: it may be the first of its function.
        let looked_up = if index == 0 { address.saturating_add(1) } else { address };
        let before = frames.len();
        backtrace::resolve(looked_up as *mut c_void, |symbol| {
            frames.push(Frame {
                address,
                function: symbol.name().map(|name| format!("{name:#}")),
                file: symbol.filename().map(|file| file.display().to_string()),
                line: symbol.lineno(),
            });
        });
        if frames.len() == before {
            frames.push(Frame { address, function: None, file: None, line: None });
        }
    }
    // It keeps debug information mapped, and the list of libraries as it is now.
    backtrace::clear_symbol_cache();
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: Option<&str>, file: Option<&str>, line: Option<u32>) -> String {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (function, file) = (owned(function), owned(file));
        Frame { address: 0x1f, function, file, line }.to_string()
    }

    #[test]
    fn a_frame_tells_what_is_known_of_it() {
        assert_eq!(frame(Some("main"), Some("src/main.rs"), Some(7)), "main at src/main.rs:7");
        assert_eq!(frame(Some("main"), Some("src/main.rs"), None), "main at src/main.rs");
        assert_eq!(frame(Some("read"), None, Some(7)), "read");
        assert_eq!(frame(None, None, None), "0x1f");
    }

    #[test]
    fn the_first_byte_of_a_function_is_the_function_s() {
        let address = symbolise as fn(&[usize]) -> Vec<Frame> as usize;
        let frames = symbolise(&[address]);
        let named = |frame: &Frame| {
            frame.function.as_deref().is_some_and(|name| name.ends_with("symbols::symbolise"))
        };
        assert!(frames.iter().any(named), "{frames:#?}");
        assert!(frames.iter().all(|frame| frame.address == address));
    }

    #[test]
    fn addresses_of_nothing_are_frames_without_a_name() {
        let nowhere = [0, 1, 4096, usize::MAX - 1, usize::MAX];
        let frames = symbolise(&nowhere);
        let of_frames: Vec<usize> = frames.iter().map(|frame| frame.address).collect();
        assert_eq!(of_frames, nowhere);
        assert!(frames.iter().all(|frame| frame.function.is_none()), "{frames:#?}");
    }
}
