//! What parameters and results are on their way: bytes, in a frame or in a memory file.
//!
//! They are in the MessagePack format, which tells types apart and holds numbers by their value: who
//! sends `640` need not say whether that is an `i32` or a `u32`, and what does not fit is found out.

mod buffer_pool;
mod bulk;
mod shared_buffer;

use std::io;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::answer::Rejection;
pub(crate) use buffer_pool::{IDLE_MAX, trim};
pub use bulk::Bytes;
pub(crate) use shared_buffer::SharedBuffer;
use shared_buffer::{Appended, SharedBufferWriter};

/// From so many bytes on a body goes by a memory file.
pub(crate) const SHARED_FROM: usize = 64 * 1024;

/// The largest body that is taken from another process: 4 GiB, less a byte.
pub(crate) const BODY_MAX: usize = u32::MAX as usize;

/// Encoded parameters, or an encoded result.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// In memory of this process: few enough to go in a frame, come from another process, or as many
    /// as they are because no memory file could be had.
    Heap(bytes::Bytes),
    /// In memory that can be passed on by its descriptor.
    Shared(Arc<SharedBuffer>),
}

/// Why a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("cannot encode the value: {0}")]
    Value(String),
    #[error("{0}")]
    Memory(String),
    #[error("too large: {length} bytes, the most is {limit}")]
    TooLarge { length: usize, limit: usize },
}

impl EncodeError {
    /// Why a request for this method is refused, whose parameters it were.
    pub(crate) fn rejection(&self, method: &str) -> Rejection {
        let (name, error) = (method.to_owned(), self.to_string());
        match self {
            EncodeError::Value(_) | EncodeError::TooLarge { .. } => {
                Rejection::InvalidParams { name, reason: error }
            }
            EncodeError::Memory(_) => Rejection::OutOfMemory { name, reason: error },
        }
    }
}

impl Body {
    /// No bytes at all.
    pub(crate) const EMPTY: Body = Body::Heap(bytes::Bytes::new());

    /// The value `()`: MessagePack's nil.
    pub(crate) const UNIT: Body = Body::Heap(bytes::Bytes::from_static(&[0xc0]));

    /// Encodes a value; a large one straight into a memory file.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Body, EncodeError> {
        Body::within(value, BODY_MAX)
    }

    /// Encodes a value that may have so many bytes.
    fn within<T: Serialize + ?Sized>(value: &T, segments_max: usize) -> Result<Body, EncodeError> {
        let mut writer = OverflowWriter::new(segments_max);
        // Fields go by name: one that is left out must not move the others.
        let mut serializer = rmp_serde::Serializer::new(&mut writer).with_struct_map();
        let encoded = value.serialize(&mut serializer);
        if let Some(error) = writer.error {
            return Err(EncodeError::Memory(error));
        }
        encoded.map_err(|error| EncodeError::Value(error.to_string()))?;
        writer.finish()
    }

    /// A body from bytes that were encoded elsewhere.
    pub(crate) fn raw(bytes: Vec<u8>) -> Result<Body, EncodeError> {
        Body::raw_within(bytes, BODY_MAX)
    }

    fn raw_within(bytes: Vec<u8>, segments_max: usize) -> Result<Body, EncodeError> {
        let mut writer = OverflowWriter::new(segments_max);
        if bytes.len() < SHARED_FROM.min(segments_max) {
            return Ok(Body::Heap(bytes.into()));
        }
        writer.append(&bytes).map_err(|error| EncodeError::Memory(error.to_string()))?;
        writer.finish()
    }

    /// Whether it goes in its frame: else memory goes beside that.
    pub(crate) fn fits_in_frame(&self) -> bool {
        match self {
            Body::Heap(bytes) => bytes.len() < SHARED_FROM,
            Body::Shared(_) => false,
        }
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Body::Heap(bytes) => bytes,
            Body::Shared(buffer) => buffer.bytes(),
        }
    }

    /// Decodes the value. What is bulk in it may keep a share in these bytes.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, String> {
        match self {
            Body::Heap(bytes) => bulk::sharing(bytes, decode::<T>),
            Body::Shared(buffer) => decode(buffer.bytes()),
        }
    }

    /// Whether what it is in is to be written again, once nobody reads it any more.
    pub(crate) fn is_pooled(&self) -> bool {
        match self {
            Body::Heap(_) => false,
            Body::Shared(buffer) => buffer.is_pooled(),
        }
    }

    /// Who was sent it may still read it, though nobody waits for that any more.
    pub(crate) fn prevent_reuse(&self) {
        match self {
            Body::Heap(_) => {}
            Body::Shared(buffer) => buffer.prevent_reuse(),
        }
    }
}

/// Decodes a value and sees to it that nothing is left over.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
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
    bulk::validating(|| decode::<T>(bytes).map(drop))
}

/// Bytes of a value: kept until they are many, then put into a memory file as they come, or kept all
/// the same if there is none to be had. Of too many only the number is kept.
struct OverflowWriter {
    storage: Storage,
    length: usize,
    segments_max: usize,
    error: Option<String>,
}

/// Where bytes are kept.
enum Storage {
    /// Here, as long as they are few.
    Small(Vec<u8>),
    Segment(SharedBufferWriter),
    /// Here, however many they are.
    Large(Vec<u8>),
    Discarded,
}

impl OverflowWriter {
    fn new(segments_max: usize) -> OverflowWriter {
        OverflowWriter { storage: Storage::Small(Vec::new()), length: 0, segments_max, error: None }
    }

    fn append(&mut self, data: &[u8]) -> Result<(), daemon_sys::Error> {
        self.length = self.length.saturating_add(data.len());
        if self.length > self.segments_max {
            self.storage = Storage::Discarded;
            return Ok(());
        }
        match &mut self.storage {
            Storage::Small(bytes) if self.length < SHARED_FROM => bytes.extend_from_slice(data),
            Storage::Small(bytes) => match SharedBufferWriter::start(bytes, data.len())? {
                Some(mut buffer) => {
                    let bytes = std::mem::take(bytes);
                    self.storage = match buffer.append(data)? {
                        Appended::Yes => Storage::Segment(buffer),
                        Appended::NoSegment => append_large(bytes, data)?,
                    };
                }
                None => self.storage = append_large(std::mem::take(bytes), data)?,
            },
            Storage::Segment(buffer) => match buffer.append(data)? {
                Appended::Yes => {}
                Appended::NoSegment => self.storage = append_large(buffer.bytes().to_vec(), data)?,
            },
            Storage::Large(bytes) => {
                let before = std::mem::take(bytes);
                self.storage = append_large(before, data)?;
            }
            Storage::Discarded => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Body, EncodeError> {
        match self.storage {
            Storage::Small(bytes) | Storage::Large(bytes) => Ok(Body::Heap(bytes.into())),
            Storage::Segment(buffer) => Ok(Body::Shared(Arc::new(buffer.finish()))),
            Storage::Discarded => {
                Err(EncodeError::TooLarge { length: self.length, limit: self.segments_max })
            }
        }
    }
}

/// Keeps these bytes too. There may be no memory for so many.
fn append_large(mut bytes: Vec<u8>, data: &[u8]) -> Result<Storage, daemon_sys::Error> {
    if bytes.try_reserve(data.len()).is_err() {
        let act = format!("keep {} bytes", bytes.len().saturating_add(data.len()));
        return Err(daemon_sys::Error::os(act, io::ErrorKind::OutOfMemory));
    }
    bytes.extend_from_slice(data);
    Ok(Storage::Large(bytes))
}

impl io::Write for OverflowWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.append(data) {
            Ok(()) => Ok(data.len()),
            Err(error) => {
                self.error = Some(error.to_string());
                Err(io::Error::other("no memory"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_small_goes_in_a_frame_and_what_is_large_by_memory() {
        let small = Body::of(&Bytes::from(vec![1; SHARED_FROM - 4])).unwrap();
        assert!(matches!(small, Body::Heap(_)), "{small:?}");
        let large = Body::of(&("name", Bytes::from(vec![7; SHARED_FROM]), 9_u32)).unwrap();
        assert!(matches!(large, Body::Shared(_)), "{large:?}");
        let (name, bulk, number): (String, Bytes, u32) = large.decode().unwrap();
        assert_eq!((name.as_str(), bulk.len(), bulk[9], number), ("name", SHARED_FROM, 7, 9));
    }

    fn bytes(body: Body) -> Vec<u8> {
        body.bytes().to_vec()
    }

    #[test]
    fn what_is_too_large_is_refused_with_both_sizes_before_it_is_sent() {
        let sizes = [(9, 10), (10, 10), (SHARED_FROM + 5, SHARED_FROM + 5)];
        for (length, limit) in sizes {
            // Of ten bytes two tell what they are; of many five.
            let head = if length < SHARED_FROM { 2 } else { 5 };
            let value = Bytes::from(vec![1; length - head]);
            assert_eq!(Body::within(&value, limit).unwrap().bytes().len(), length);
            assert_eq!(Body::raw_within(vec![1; length], limit).unwrap().bytes().len(), length);
        }
        for limit in [10, SHARED_FROM, SHARED_FROM + 50_000] {
            let length = limit + 100_000;
            let expected = EncodeError::TooLarge { length, limit };
            let value = Bytes::from(vec![1; length - 5]);
            assert_eq!(Body::within(&value, limit).unwrap_err(), expected);
            assert_eq!(Body::raw_within(vec![1; length], limit).unwrap_err(), expected);
        }
        // In pieces, past a file that was begun.
        let words: Vec<String> = (0..20_000).map(|nth| format!("word {nth}")).collect();
        let length = Body::of(&words).unwrap().bytes().len();
        let refused = Body::within(&words, 100_000).unwrap_err();
        assert_eq!(refused.to_string(), format!("too large: {length} bytes, the most is 100000"));
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
        assert_eq!(fits::<(String, u32)>(body.bytes()), Ok(()));
        assert!(fits::<(u64, Vec<String>)>(body.bytes()).is_err());
        assert!(fits::<String>(body.bytes()).is_err());
        let two =
            Body::raw([Body::of(&1_u8), Body::of(&2_u8)].map(|one| bytes(one.unwrap())).concat());
        assert_eq!(fits::<u8>(two.unwrap().bytes()).unwrap_err(), "something is left over");
    }

    #[test]
    fn what_is_tried_and_what_is_decoded_are_told_apart() {
        let body = Body::of(&Bytes::from(vec![3; 10])).unwrap();
        assert_eq!(fits::<Bytes>(body.bytes()), Ok(()));
        assert_eq!(body.decode::<Bytes>().unwrap().len(), 10);
    }

    /// The memory file in which a body is, by its inode.
    fn file(body: &Body) -> u64 {
        match body {
            Body::Heap(_) => panic!("it is in no file"),
            Body::Shared(buffer) => {
                nix::sys::stat::fstat(buffer.fd().unwrap()).unwrap().st_ino as u64
            }
        }
    }

    #[test]
    fn a_letter_s_file_is_used_again_unless_it_was_withdrawn() {
        // A size that no other test has: they run beside this one.
        let value = |byte| Bytes::from(vec![byte; 5_000_000]);
        let first = Body::of(&value(1)).unwrap();
        let (handle, used) = (first.clone(), file(&first));
        drop(first);
        let second = Body::of(&value(2)).unwrap();
        assert_ne!(file(&second), used, "somebody still has it");
        assert_eq!(handle.decode::<Bytes>().unwrap(), value(1));
        drop(handle);
        let third = Body::of(&value(3)).unwrap();
        assert_eq!(file(&third), used);
        assert_eq!(third.decode::<Bytes>().unwrap(), value(3));
        third.prevent_reuse();
        drop(third);
        assert_ne!(file(&Body::of(&value(4)).unwrap()), used);
    }

    #[test]
    fn nothing_at_all_is_what_it_is_encoded_as() {
        assert_eq!(Body::UNIT.bytes(), Body::of(&()).unwrap().bytes());
        Body::UNIT.decode::<()>().unwrap();
    }

    #[test]
    fn what_comes_in_pieces_moves_to_larger_files() {
        let words: Vec<String> = (0..200_000).map(|nth| format!("word {nth}")).collect();
        let body = Body::of(&words).unwrap();
        assert!(matches!(body, Body::Shared(_)), "{body:?}");
        assert_eq!(body.decode::<Vec<String>>().unwrap(), words);
    }

    #[test]
    fn bulk_that_has_come_is_not_copied_again() {
        let encoded = bytes(Body::of(&Bytes::from(vec![5; 1000])).unwrap());
        let come = Body::Heap(encoded.into());
        let decoded: Bytes = come.decode().unwrap();
        assert!(come.bytes().as_ptr_range().contains(&decoded.as_ptr()));
        assert_eq!(decoded.into_vec(), vec![5; 1000]);
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
            prop_assert_eq!(matches!(body, Body::Shared(_)), body.bytes().len() >= SHARED_FROM);
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
