//! What parameters and results are on their way: bytes, in a frame or in shared memory.
//!
//! They are in the MessagePack format, which tells types apart and holds numbers by their value: who
//! sends `640` need not say whether that is an `i32` or a `u32`, and what does not fit is found out.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use daemon_sys::memfd::{Draft, Mapped};
use serde::de::{DeserializeOwned, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// From so many bytes on a body goes by shared memory.
pub(crate) const SHARED_FROM: usize = 64 * 1024;

/// Small writes to shared memory are collected up to this size.
const PIECE: usize = 4096;

/// The largest body that is taken from another process: 4 GiB, less a byte.
pub(crate) const BODY_MAX: usize = u32::MAX as usize;

/// Encoded parameters, or an encoded result.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Few enough to go in a frame.
    Inline(Vec<u8>),
    /// In memory that can be passed on by its descriptor.
    Shared(Arc<Letter>),
    /// In memory that another process has passed on.
    Mapped(Arc<Mapped>),
}

/// Memory that is sealed and can be passed on.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) fd: OwnedFd,
    pub(crate) length: usize,
}

/// Why a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("cannot encode the value: {0}")]
    Value(String),
    #[error("{0}")]
    Memory(String),
}

impl Body {
    /// Encodes a value; a large one straight into shared memory.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Body, EncodeError> {
        let mut spill = Spill::default();
        let encoded = value.serialize(&mut rmp_serde::Serializer::new(&mut spill));
        if let Some(why) = spill.trouble {
            return Err(EncodeError::Memory(why));
        }
        encoded.map_err(|error| EncodeError::Value(error.to_string()))?;
        spill.finish()
    }

    /// A body from bytes that were encoded elsewhere.
    pub(crate) fn raw(bytes: Vec<u8>) -> Result<Body, EncodeError> {
        if bytes.len() < SHARED_FROM {
            return Ok(Body::Inline(bytes));
        }
        let mut spill = Spill::default();
        match spill.take(&bytes) {
            Ok(()) => spill.finish(),
            Err(_) => Err(EncodeError::Memory(spill.trouble.unwrap_or_default())),
        }
    }

    /// Has its bytes read; those of a letter are mapped for it.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&[u8]) -> T) -> Result<T, daemon_sys::Error> {
        match self {
            Body::Inline(bytes) => Ok(read(bytes)),
            Body::Mapped(mapped) => Ok(read(mapped)),
            Body::Shared(letter) => Ok(read(&Mapped::open(&letter.fd, letter.length)?)),
        }
    }

    /// Decodes the value.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, String> {
        match self.with(decode::<T>) {
            Ok(decoded) => decoded,
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn length(&self) -> usize {
        match self {
            Body::Inline(bytes) => bytes.len(),
            Body::Shared(letter) => letter.length,
            Body::Mapped(mapped) => mapped.len(),
        }
    }
}

/// Decodes a value and sees to it that nothing is left over.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    // It does not tell where it stands; but that nothing follows, it does.
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        Ok(_) | Err(_) => Err("something is left over".to_owned()),
    }
}

/// Finds out whether bytes are such a value, without copying what is bulk in it.
pub(crate) fn fits<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), String> {
    SKIM.set(true);
    let fits = decode::<T>(bytes).map(drop);
    SKIM.set(false);
    fits
}

thread_local! {
    /// Whether values are decoded only to see whether they can be.
    static SKIM: Cell<bool> = const { Cell::new(false) };
}

/// Bytes of a value: kept until they are many, then put into shared memory as they come.
#[derive(Default)]
struct Spill {
    bytes: Vec<u8>,
    draft: Option<Draft>,
    trouble: Option<String>,
}

impl Spill {
    fn pour(&mut self, data: &[u8]) -> Result<(), daemon_sys::Error> {
        let draft = match &mut self.draft {
            Some(draft) => draft,
            None => self.draft.insert(Draft::begin("task")?),
        };
        if !self.bytes.is_empty() {
            draft.append(&self.bytes)?;
            self.bytes.clear();
        }
        draft.append(data)
    }

    fn finish(mut self) -> Result<Body, EncodeError> {
        if self.draft.is_none() {
            return Ok(Body::Inline(self.bytes));
        }
        let memory = |error: daemon_sys::Error| EncodeError::Memory(error.to_string());
        self.pour(&[]).map_err(memory)?;
        match self.draft {
            None => Ok(Body::Inline(self.bytes)),
            Some(draft) => {
                let length = draft.length();
                let fd = draft.seal().map_err(memory)?;
                Ok(Body::Shared(Arc::new(Letter { fd, length })))
            }
        }
    }
}

impl Spill {
    fn take(&mut self, data: &[u8]) -> io::Result<()> {
        if self.draft.is_none() && self.bytes.len() + data.len() < SHARED_FROM {
            self.bytes.extend_from_slice(data);
            return Ok(());
        }
        // What is small is kept until there is more of it.
        if self.draft.is_some() && self.bytes.len() + data.len() < PIECE {
            self.bytes.extend_from_slice(data);
            return Ok(());
        }
        self.pour(data).map_err(|error| {
            self.trouble = Some(error.to_string());
            io::Error::other("no memory")
        })
    }
}

impl io::Write for Spill {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.take(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes in bulk: as a parameter or in a result they are copied once on each side, where a `Vec<u8>`
/// is encoded number by number.
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
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// Takes the bytes out.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Bytes(bytes.to_vec())
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
                Ok(if SKIM.get() { Bytes::default() } else { Bytes(bytes.to_vec()) })
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_bytes(Bulk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_small_goes_in_a_frame_and_what_is_large_by_memory() {
        let small = Body::of(&Bytes::from(vec![1; SHARED_FROM - 4])).unwrap();
        assert!(matches!(small, Body::Inline(_)), "{small:?}");
        let large = Body::of(&("name", Bytes::from(vec![7; SHARED_FROM]), 9_u32)).unwrap();
        assert!(matches!(large, Body::Shared(_)), "{large:?}");
        let (name, bulk, number): (String, Bytes, u32) = large.decode().unwrap();
        assert_eq!((name.as_str(), bulk.len(), bulk[9], number), ("name", SHARED_FROM, 7, 9));
    }

    fn bytes(body: Body) -> Vec<u8> {
        body.with(<[u8]>::to_vec).unwrap()
    }

    #[test]
    fn a_number_is_a_number_whatever_its_type() {
        let body = Body::of(&("a.png", 640)).unwrap();
        assert_eq!(body.decode::<(String, u32)>().unwrap().1, 640);
        assert_eq!(body.decode::<(String, i64)>().unwrap().1, 640);
        assert!(body.decode::<(String, u8)>().is_err(), "it does not fit in so few bits");
        assert!(Body::of(&-1).unwrap().decode::<u64>().is_err());
    }

    #[test]
    fn what_does_not_fit_is_found_out() {
        let body = Body::of(&("a", 1_u32)).unwrap();
        assert_eq!(body.with(fits::<(String, u32)>).unwrap(), Ok(()));
        assert!(body.with(fits::<(u64, Vec<String>)>).unwrap().is_err());
        assert!(body.with(fits::<String>).unwrap().is_err());
        let two =
            Body::raw([Body::of(&1_u8), Body::of(&2_u8)].map(|one| bytes(one.unwrap())).concat());
        assert_eq!(two.unwrap().with(fits::<u8>).unwrap().unwrap_err(), "something is left over");
    }

    #[test]
    fn what_is_tried_and_what_is_decoded_are_told_apart() {
        let body = Body::of(&Bytes::from(vec![3; 10])).unwrap();
        assert_eq!(body.with(fits::<Bytes>).unwrap(), Ok(()));
        assert_eq!(body.decode::<Bytes>().unwrap().len(), 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn any_value_comes_out_the_same(
            words in proptest::collection::vec(".{0,40}", 0..20),
            bulk in 0_usize..200_000,
            number: i64,
        ) {
            let value = (words, Bytes::from(vec![5; bulk]), number);
            let body = Body::of(&value).unwrap();
            prop_assert_eq!(matches!(body, Body::Shared(_)), body.length() >= SHARED_FROM);
            let decoded: (Vec<String>, Bytes, i64) = body.decode().unwrap();
            prop_assert_eq!(decoded, value);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
            let _ = decode::<(String, Vec<(u32, Option<String>)>)>(&bytes);
            let _ = fits::<(Bytes, u8)>(&bytes);
        }
    }
}
