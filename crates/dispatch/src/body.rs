//! Encoded parameters and results, which are sent in a frame or in a memory file.
//!
//! Parameters and results are encoded as MessagePack, which distinguishes types and stores numbers
//! by value. A sender of `640` therefore need not know whether the receiver expects an `i32` or a
//! `u32`. A value that does not fit the expected type is an error.

mod buffer_pool;
mod bulk;
mod shared_buffer;

use std::io;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

pub(crate) use buffer_pool::{IDLE_MAX, trim};
pub use bulk::Bytes;
pub(crate) use shared_buffer::SharedBuffer;
use shared_buffer::SharedBufferWriter;

/// The size in bytes of the smallest body that is sent in a memory file.
pub(crate) const SHARED_FROM: usize = 64 * 1024;

/// The maximum size of a body, sent or received: 4 GiB minus 1 byte.
pub(crate) const BODY_MAX: usize = u32::MAX as usize;

/// Encoded parameters, or an encoded result.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// In the heap memory of this process. The body fits in a frame, was received from another
    /// process, or is large but no memory file was available when it was encoded.
    Heap(bytes::Bytes),
    /// In a memory file. The body is sent as the descriptor of the file.
    Shared(Arc<SharedBuffer>),
}

/// Why a value could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("cannot encode the value: {0}")]
    Value(String),
    #[error("{0}")]
    Memory(String),
    #[error("too large: {length} bytes, the maximum is {limit}")]
    TooLarge { length: usize, limit: usize },
}

impl Body {
    /// A body without bytes.
    pub(crate) const EMPTY: Body = Body::Heap(bytes::Bytes::new());

    /// The value `()`: MessagePack's nil.
    pub(crate) const UNIT: Body = Body::Heap(bytes::Bytes::from_static(&[0xc0]));

    /// Encodes a value. A large value is encoded directly into a memory file.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Body, EncodeError> {
        Body::within(value, BODY_MAX)
    }

    /// Encodes a value. Returns an error if the encoded value is longer than `limit` bytes.
    pub(crate) fn within<T: Serialize + ?Sized>(
        value: &T,
        limit: usize,
    ) -> Result<Body, EncodeError> {
        let mut writer = OverflowWriter::new(limit);
        // Struct fields are encoded with their names, so that a skipped field does not shift the
        // fields after it.
        let mut serializer = rmp_serde::Serializer::new(&mut writer).with_struct_map();
        let encoded = value.serialize(&mut serializer);
        if let Some(error) = writer.error {
            return Err(EncodeError::Memory(error));
        }
        encoded.map_err(|error| EncodeError::Value(error.to_string()))?;
        writer.finish()
    }

    /// Creates a body from bytes that are encoded already.
    pub(crate) fn raw(bytes: Vec<u8>) -> Result<Body, EncodeError> {
        Body::raw_within(bytes, BODY_MAX)
    }

    fn raw_within(bytes: Vec<u8>, limit: usize) -> Result<Body, EncodeError> {
        let mut writer = OverflowWriter::new(limit);
        if bytes.len() < SHARED_FROM.min(limit) {
            return Ok(Body::Heap(bytes.into()));
        }
        writer.append(&bytes).map_err(|error| EncodeError::Memory(error.to_string()))?;
        writer.finish()
    }

    /// Returns whether the body is sent in its frame, and not in a memory file.
    pub(crate) fn fits_in_frame(&self) -> bool {
        match self {
            Body::Heap(bytes) => bytes.len() < SHARED_FROM,
            Body::Shared(_) => false,
        }
    }

    /// Returns the encoded bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Body::Heap(bytes) => bytes,
            Body::Shared(buffer) => buffer.bytes(),
        }
    }

    /// Decodes the value. [`Bytes`] in the value may share the memory of the body instead of
    /// copying it.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, String> {
        match self {
            Body::Heap(bytes) => bulk::sharing(bytes, decode::<T>),
            Body::Shared(buffer) => decode(buffer.bytes()),
        }
    }

    /// Returns whether the body is in a memory file that can go back to the buffer pool when the
    /// body is dropped.
    pub(crate) fn is_pooled(&self) -> bool {
        match self {
            Body::Heap(_) => false,
            Body::Shared(buffer) => buffer.is_pooled(),
        }
    }

    /// Prevents the reuse of the body's memory file. Called if the receiver may still read the
    /// file.
    pub(crate) fn prevent_reuse(&self) {
        match self {
            Body::Heap(_) => {}
            Body::Shared(buffer) => buffer.prevent_reuse(),
        }
    }
}

/// Decodes a value. Bytes after the value are an error.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    // The deserializer does not expose its position, but decoding another value shows whether the
    // input has ended.
    match IgnoredAny::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        Ok(_) | Err(_) => Err("unexpected bytes after the value".to_owned()),
    }
}

/// Checks that the bytes can be decoded as a `T`. [`Bytes`] in the value are not copied.
pub(crate) fn fits<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), String> {
    bulk::validating(|| decode::<T>(bytes).map(drop))
}

/// Collects the bytes of a value. If there are fewer than [`SHARED_FROM`] bytes, they are stored in
/// heap memory. Otherwise all of them are stored in a memory file, or in heap memory if no memory
/// file is available. If there are more bytes than the limit, they are discarded and only counted.
struct OverflowWriter {
    storage: Storage,
    length: usize,
    limit: usize,
    error: Option<String>,
}

/// Where the bytes of a value are stored.
enum Storage {
    /// In heap memory, because there are fewer than [`SHARED_FROM`] bytes.
    Small(Vec<u8>),
    /// In a memory file.
    Segment(SharedBufferWriter),
    /// In heap memory, because no memory file is available.
    Large(Vec<u8>),
    /// Not stored, because there are more bytes than the limit.
    Discarded,
}

impl OverflowWriter {
    fn new(limit: usize) -> OverflowWriter {
        OverflowWriter { storage: Storage::Small(Vec::new()), length: 0, limit, error: None }
    }

    fn append(&mut self, data: &[u8]) -> Result<(), daemon_sys::Error> {
        self.length = self.length.saturating_add(data.len());
        if self.length > self.limit {
            self.storage = Storage::Discarded;
            return Ok(());
        }
        match &mut self.storage {
            Storage::Small(bytes) if self.length < SHARED_FROM => bytes.extend_from_slice(data),
            Storage::Small(bytes) => match SharedBufferWriter::start(bytes, data.len())? {
                Some(mut buffer) => {
                    let bytes = std::mem::take(bytes);
                    self.storage = if buffer.append(data)? {
                        Storage::Segment(buffer)
                    } else {
                        append_large(bytes, data)?
                    };
                }
                None => self.storage = append_large(std::mem::take(bytes), data)?,
            },
            Storage::Segment(buffer) => {
                if !buffer.append(data)? {
                    self.storage = append_large(buffer.bytes().to_vec(), data)?;
                }
            }
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
                Err(EncodeError::TooLarge { length: self.length, limit: self.limit })
            }
        }
    }
}

/// Appends `data` to `bytes` in heap memory. Returns an error if the allocation fails.
fn append_large(mut bytes: Vec<u8>, data: &[u8]) -> Result<Storage, daemon_sys::Error> {
    if bytes.try_reserve(data.len()).is_err() {
        let action = format!("allocate {} bytes", bytes.len().saturating_add(data.len()));
        return Err(daemon_sys::Error::os(action, io::ErrorKind::OutOfMemory));
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
                Err(io::Error::other("out of memory"))
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
    fn small_values_use_heap_memory_and_large_values_a_memory_file() {
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
    fn a_value_that_is_too_large_is_an_error_with_its_size_and_the_limit() {
        let sizes = [(9, 10), (10, 10), (SHARED_FROM + 5, SHARED_FROM + 5)];
        for (length, limit) in sizes {
            // The MessagePack header of a short byte string has two bytes, the header of a long one
            // has five.
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
        // This value is written in pieces, so the limit is reached after a memory file has been
        // created.
        let words: Vec<String> = (0..20_000).map(|nth| format!("word {nth}")).collect();
        let length = Body::of(&words).unwrap().bytes().len();
        let error = Body::within(&words, 100_000).unwrap_err().to_string();
        assert_eq!(error, format!("too large: {length} bytes, the maximum is 100000"));
    }

    #[test]
    fn a_number_can_be_decoded_as_any_type_that_fits() {
        let body = Body::of(&("a.png", 640)).unwrap();
        assert_eq!(body.decode::<(String, u32)>().unwrap().1, 640);
        assert_eq!(body.decode::<(String, i64)>().unwrap().1, 640);
        assert!(body.decode::<(String, u8)>().is_err(), "640 does not fit in 8 bits");
        assert!(Body::of(&-1).unwrap().decode::<u64>().is_err());
    }

    #[test]
    fn decoding_a_value_as_another_type_is_an_error() {
        let body = Body::of(&("a", 1_u32)).unwrap();
        assert_eq!(fits::<(String, u32)>(body.bytes()), Ok(()));
        assert!(fits::<(u64, Vec<String>)>(body.bytes()).is_err());
        assert!(fits::<String>(body.bytes()).is_err());
        let two =
            Body::raw([Body::of(&1_u8), Body::of(&2_u8)].map(|one| bytes(one.unwrap())).concat());
        let error = fits::<u8>(two.unwrap().bytes()).unwrap_err();
        assert_eq!(error, "unexpected bytes after the value");
    }

    #[test]
    fn validating_a_value_does_not_affect_decoding_it() {
        let body = Body::of(&Bytes::from(vec![3; 10])).unwrap();
        assert_eq!(fits::<Bytes>(body.bytes()), Ok(()));
        assert_eq!(body.decode::<Bytes>().unwrap().len(), 10);
    }

    /// Returns the inode number of a body's memory file.
    fn file(body: &Body) -> u64 {
        match body {
            Body::Heap(_) => panic!("the body is not in a memory file"),
            Body::Shared(buffer) => {
                nix::sys::stat::fstat(buffer.fd().unwrap()).unwrap().st_ino as u64
            }
        }
    }

    #[test]
    fn a_memory_file_is_reused_unless_its_reuse_is_prevented() {
        let value = |byte| Bytes::from(vec![byte; 5_000_000]);
        let first = Body::of(&value(1)).unwrap();
        let (handle, used) = (first.clone(), file(&first));
        drop(first);
        let second = Body::of(&value(2)).unwrap();
        assert_ne!(file(&second), used, "the file is still in use");
        assert_eq!(handle.decode::<Bytes>().unwrap(), value(1));
        drop((handle, second));
        // Tests run at the same time and share the buffer pool, so another test may take a file, or
        // leave no space for it.
        let reused = (0..100).find_map(|byte| {
            buffer_pool::clear();
            let body = Body::of(&value(byte)).unwrap();
            let (handle, used) = (body.clone(), file(&body));
            drop(body);
            drop(handle);
            let next = Body::of(&value(byte + 1)).unwrap();
            assert_eq!(next.decode::<Bytes>().unwrap(), value(byte + 1));
            (file(&next) == used).then_some(next)
        });
        let reused = reused.expect("the file is reused");
        let used = file(&reused);
        reused.prevent_reuse();
        drop(reused);
        assert_ne!(file(&Body::of(&value(4)).unwrap()), used);
    }

    #[test]
    fn the_unit_constant_equals_the_encoded_unit_value() {
        assert_eq!(Body::UNIT.bytes(), Body::of(&()).unwrap().bytes());
        Body::UNIT.decode::<()>().unwrap();
    }

    #[test]
    fn a_value_that_is_written_in_pieces_moves_to_larger_files() {
        let words: Vec<String> = (0..200_000).map(|nth| format!("word {nth}")).collect();
        let body = Body::of(&words).unwrap();
        assert!(matches!(body, Body::Shared(_)), "{body:?}");
        assert_eq!(body.decode::<Vec<String>>().unwrap(), words);
    }

    #[test]
    fn decoded_bytes_share_the_memory_of_the_received_body() {
        let encoded = bytes(Body::of(&Bytes::from(vec![5; 1000])).unwrap());
        let received = Body::Heap(encoded.into());
        let decoded: Bytes = received.decode().unwrap();
        assert!(received.bytes().as_ptr_range().contains(&decoded.as_ptr()));
        assert_eq!(decoded.into_vec(), vec![5; 1000]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn any_value_is_the_same_after_encoding_and_decoding(
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
        fn decoding_arbitrary_bytes_never_panics(bytes: Vec<u8>) {
            let _ = decode::<(String, Vec<(u32, Option<String>)>)>(&bytes);
            let _ = fits::<(Bytes, u8)>(&bytes);
        }
    }
}
