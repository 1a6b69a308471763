//! Large byte strings as parameters or results. They are not encoded byte by byte, and decoded byte
//! strings share the received memory where possible.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A byte string for parameters and results.
///
/// The sender and the receiver each copy the bytes once, whereas a `Vec<u8>` is encoded number by
/// number. Cloning is cheap.
///
/// # Examples
///
/// ```
/// use actix_dispatch::Bytes;
///
/// let picture = Bytes::from(vec![0_u8; 1_000_000]);
/// assert_eq!(picture.len(), 1_000_000);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bytes(bytes::Bytes);

impl Bytes {
    /// Returns the bytes as a `Vec`. Received bytes are moved to the start of their allocation, or
    /// copied if the allocation is shared.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into()
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(bytes.into())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Bytes(bytes::Bytes::copy_from_slice(bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bulk;

        impl Visitor<'_> for Bulk {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(if VALIDATE_ONLY.get() { Bytes::default() } else { share_or_copy(bytes) })
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(bytes.into())
            }
        }

        deserializer.deserialize_bytes(Bulk)
    }
}

thread_local! {
    /// Whether values are only validated. If so, their byte strings are not copied.
    static VALIDATE_ONLY: Cell<bool> = const { Cell::new(false) };
    /// The bytes that are being decoded, if decoded values may share them.
    static SOURCE: RefCell<Option<bytes::Bytes>> = const { RefCell::new(None) };
}

/// Calls its closure on drop. The closure restores a thread-local variable even if a decoder
/// panics.
struct Restore<F: FnMut()>(F);

impl<F: FnMut()> Drop for Restore<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs a decoder without copying byte strings. The decoded value must be dropped, because its byte
/// strings are empty.
pub(super) fn validating<T>(decode: impl FnOnce() -> T) -> T {
    let before = VALIDATE_ONLY.replace(true);
    let _before = Restore(|| VALIDATE_ONLY.set(before));
    decode()
}

/// Runs a decoder on these bytes. Byte strings in the decoded value may share them.
pub(super) fn sharing<T>(source: &bytes::Bytes, decode: impl FnOnce(&[u8]) -> T) -> T {
    let mut before = SOURCE.replace(Some(source.clone()));
    let _before = Restore(|| drop(SOURCE.replace(before.take())));
    decode(source)
}

/// Returns decoded bytes that share the memory of `SOURCE` if they are more than half of `SOURCE`.
/// Otherwise returns a copy, so that a small value does not keep a large allocation alive.
fn share_or_copy(bytes: &[u8]) -> Bytes {
    let share = SOURCE.with_borrow(|source| {
        let source = source.as_ref().filter(|source| bytes.len() > source.len() / 2)?;
        let at = (bytes.as_ptr() as usize).checked_sub(source.as_ptr() as usize)?;
        let end = at.checked_add(bytes.len())?;
        (end <= source.len()).then(|| Bytes(source.slice(at..end)))
    });
    share.unwrap_or_else(|| Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_within(part: &[u8], whole: &[u8]) -> bool {
        whole.as_ptr_range().contains(&part.as_ptr())
    }

    #[test]
    fn a_large_part_of_the_source_is_shared_and_a_small_part_is_copied() {
        let source = bytes::Bytes::from(vec![7; 100]);
        let (large, small) = sharing(&source, |bytes| {
            (share_or_copy(&bytes[20..80]), share_or_copy(&bytes[10..30]))
        });
        assert_eq!((&*large, &*small), (&[7; 60][..], &[7; 20][..]));
        assert!(is_within(&large, &source) && !is_within(&small, &source));
    }

    #[test]
    fn the_thread_locals_are_restored_if_a_decoder_panics() {
        let source = bytes::Bytes::from(vec![7; 100]);
        let panics = |act: &dyn Fn()| {
            let act = std::panic::AssertUnwindSafe(act);
            assert!(std::panic::catch_unwind(act).is_err());
        };
        panics(&|| validating(|| panic!("expected panic")));
        panics(&|| sharing(&source, |_bytes| panic!("expected panic")));
        assert!(!VALIDATE_ONLY.get());
        assert!(SOURCE.with_borrow(Option::is_none));
    }

    #[test]
    fn bytes_outside_the_source_are_copied() {
        let (source, other) = (bytes::Bytes::from(vec![1; 100]), vec![2; 90]);
        let copied = sharing(&source, |_bytes| share_or_copy(&other));
        assert_eq!(&*copied, &other);
        assert!(!is_within(&copied, &other));
        assert_eq!(&*share_or_copy(&other), &other);
    }

    #[test]
    fn a_nested_decoder_shares_its_own_source_and_not_that_of_the_outer_decoder() {
        let (outer, inner) = (bytes::Bytes::from(vec![1; 10]), bytes::Bytes::from(vec![2; 10]));
        let (first, second) = sharing(&outer, |bytes| {
            let second = sharing(&inner, share_or_copy);
            (share_or_copy(bytes), second)
        });
        assert!(is_within(&first, &outer) && is_within(&second, &inner));
    }
}
