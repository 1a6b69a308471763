//! How a request is sent from the parent to a child: as bytes and descriptors, never as a Rust
//! value.

use std::collections::VecDeque;
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::panic::{self, AssertUnwindSafe};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest number of descriptors in one request.
///
/// Linux accepts 253 descriptors in one message (`SCM_MAX_FD`, unix(7)). This limit is lower, to be
/// portable.
pub const DESCRIPTORS_MAX: usize = 60;

/// A decoder buffer up to this size in bytes is not freed.
const SMALL: usize = 4096;

/// A value that can be sent to a child process.
///
/// The parent sends an encoded *copy*. It keeps the original until the child is forked, and the
/// original is returned if the fork fails. Descriptors are borrowed for encoding, and the kernel
/// duplicates them when they are sent.
///
/// The trait is implemented for std's sockets and files, [`OwnedFd`](std::os::fd::OwnedFd), bytes,
/// strings, `()`, tuples of up to four of these, [`Option`], and any serde value inside [`Serde`].
///
/// # Examples
///
/// A custom request is encoded field by field, and decoded in the same order:
///
/// ```
/// use std::net::TcpStream;
/// use daemon_forkserver::{Decoder, Transfer, TransferError, Encoder};
///
/// struct TenantRequest { peer: TcpStream, tenant: String }
///
/// impl Transfer for TenantRequest {
///     fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
///         self.peer.encode(encoder)?;
///         self.tenant.encode(encoder)
///     }
///     fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
///         let (peer, tenant) = (TcpStream::decode(decoder)?, String::decode(decoder)?);
///         Ok(TenantRequest { peer, tenant })
///     }
/// }
/// ```
pub trait Transfer: Sized + Unpin + 'static {
    /// Encodes a copy of the value.
    ///
    /// # Errors
    ///
    /// If the value cannot be encoded, for example because serde cannot serialize it.
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError>;

    /// Decodes a value. This runs in the child.
    ///
    /// # Errors
    ///
    /// If the bytes and descriptors do not contain such a value.
    fn decode(decoder: &mut Decoder) -> Result<Self, TransferError>;
}

/// Why a value could not be sent to a child, or could not be decoded there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The encoded request is larger than the fork server's limit.
    #[error("cannot send a request of {size} bytes: the limit is {limit} bytes")]
    TooLarge {
        /// The size of the encoded request in bytes.
        size: usize,
        /// The limit in bytes, set by
        /// [`ForkServerBuilder::request_limit`](crate::ForkServerBuilder::request_limit).
        limit: usize,
    },
    /// The request has more than [`DESCRIPTORS_MAX`] descriptors.
    #[error("cannot send {count} descriptors with one request: the limit is {DESCRIPTORS_MAX}")]
    TooManyDescriptors {
        /// The number of descriptors.
        count: usize,
    },
    /// The method `encode` of the request has panicked.
    #[error("cannot encode the request: its encode method panicked")]
    Panicked,
    /// A serde value could not be serialized.
    #[error("cannot encode the request: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A serde value could not be deserialized.
    #[error("cannot decode the request: {0}")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bytes end before the value is complete.
    #[error("cannot decode the request: expected {wanted} more bytes, found {left}")]
    Truncated {
        /// The number of bytes that the value needs.
        wanted: usize,
        /// The number of bytes that are left.
        left: usize,
    },
    /// A string is not UTF-8.
    #[error("cannot decode the request: a string is not valid UTF-8")]
    NotText,
    /// A descriptor is missing.
    #[error("cannot decode the request: a descriptor is missing")]
    MissingDescriptor,
    /// Bytes or descriptors are left after the value was decoded.
    #[error("cannot decode the request: {bytes} bytes and {descriptors} descriptors are left over")]
    LeftOver {
        /// The number of bytes left.
        bytes: usize,
        /// The number of descriptors left.
        descriptors: usize,
    },
    /// The memory file of a large request could not be created or read.
    #[error("cannot send the request through a memory file: {0}")]
    SharedMemory(#[from] daemon_sys::Error),
}

/// Collects the bytes and the borrowed descriptors of a request, in the order in which they are
/// added.
#[derive(Debug, Default)]
pub struct Encoder<'a> {
    bytes: Vec<u8>,
    descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Encoder<'a> {
    /// Encodes a whole request, and checks its size and its number of descriptors. A panic of the
    /// request's code is an error.
    pub(crate) fn of<R: Transfer>(request: &'a R, limit: usize) -> Result<Self, TransferError> {
        let mut encoder = Encoder::default();
        // After a panic the encoder is dropped.
        panic::catch_unwind(AssertUnwindSafe(|| request.encode(&mut encoder)))
            .map_err(|_payload| TransferError::Panicked)??;
        if encoder.bytes.len() > limit {
            return Err(TransferError::TooLarge { size: encoder.bytes.len(), limit });
        }
        if encoder.descriptors.len() > DESCRIPTORS_MAX {
            return Err(TransferError::TooManyDescriptors { count: encoder.descriptors.len() });
        }
        Ok(encoder)
    }

    /// Appends the length of the bytes, then the bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a descriptor.
    pub fn put_descriptor(&mut self, descriptor: BorrowedFd<'a>) {
        self.descriptors.push(descriptor);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn descriptors(&self) -> &[BorrowedFd<'a>] {
        &self.descriptors
    }
}

/// Returns the bytes and descriptors of a received request, in the order in which they were
/// encoded.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    read: usize,
    descriptors: VecDeque<OwnedFd>,
}

impl Decoder {
    pub(crate) fn new(bytes: Vec<u8>, descriptors: VecDeque<OwnedFd>) -> Self {
        Decoder { bytes, read: 0, descriptors }
    }

    /// Decodes a whole request, and checks that nothing is left over.
    pub(crate) fn decode_request<R: Transfer>(mut self) -> Result<R, TransferError> {
        let request = R::decode(&mut self)?;
        let (bytes, descriptors) = (self.bytes.len() - self.read, self.descriptors.len());
        if bytes > 0 || descriptors > 0 {
            return Err(TransferError::LeftOver { bytes, descriptors });
        }
        if self.bytes.capacity() <= SMALL {
            // In a child that has just been forked, freeing a small buffer would copy its memory
            // page.
            std::mem::forget(self);
        }
        Ok(request)
    }

    /// Returns the next bytes: those that one call of [`put_bytes`](Encoder::put_bytes) appended.
    ///
    /// # Errors
    ///
    /// [`TransferError::Truncated`] if fewer bytes are left than the encoded length states.
    pub fn take_bytes(&mut self) -> Result<&[u8], TransferError> {
        let length = self.take(size_of::<u64>())?;
        let length = length.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Returns the next descriptor.
    ///
    /// # Errors
    ///
    /// [`TransferError::MissingDescriptor`] if no descriptor is left.
    #[inline]
    pub fn take_descriptor(&mut self) -> Result<OwnedFd, TransferError> {
        self.descriptors.pop_front().ok_or_else(|| TransferError::MissingDescriptor)
    }

    fn take(&mut self, wanted: usize) -> Result<&[u8], TransferError> {
        let left = self.bytes.len() - self.read;
        if wanted > left {
            return Err(TransferError::Truncated { wanted, left });
        }
        let start = self.read;
        self.read += wanted;
        Ok(&self.bytes[start..self.read])
    }
}

/// Any serde value, in the postcard format.
///
/// # Examples
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use std::net::TcpStream;
/// use daemon_forkserver::Serde;
///
/// #[derive(Serialize, Deserialize)]
/// struct RequestInfo { tenant: String, attempt: u32 }
///
/// // a connection and what the parent knows about it
/// type Request = (TcpStream, Serde<RequestInfo>);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serde<T>(pub T);

impl<T: Serialize + DeserializeOwned + Unpin + 'static> Transfer for Serde<T> {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        let bytes =
            postcard::to_stdvec(&self.0).map_err(|error| TransferError::Encode(error.into()))?;
        encoder.put_bytes(&bytes);
        Ok(())
    }

    fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
        postcard::from_bytes(decoder.take_bytes()?)
            .map(Serde)
            .map_err(|error| TransferError::Decode(error.into()))
    }
}

impl Transfer for Vec<u8> {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        encoder.put_bytes(self);
        Ok(())
    }

    fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
        Ok(decoder.take_bytes()?.to_vec())
    }
}

impl Transfer for String {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        encoder.put_bytes(self.as_bytes());
        Ok(())
    }

    fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
        let bytes = decoder.take_bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|_not_utf8| TransferError::NotText)
    }
}

impl<T: Transfer> Transfer for Option<T> {
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        match self {
            None => encoder.put_bytes(&[]),
            Some(value) => {
                encoder.put_bytes(&[1]);
                value.encode(encoder)?;
            }
        }
        Ok(())
    }

    fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
        if decoder.take_bytes()?.is_empty() { Ok(None) } else { T::decode(decoder).map(Some) }
    }
}

macro_rules! descriptors {
    ($($kind:ty),*) => {$(
        impl Transfer for $kind {
            fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
                encoder.put_descriptor(self.as_fd());
                Ok(())
            }

            #[inline]
            fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
                Ok(Self::from(decoder.take_descriptor()?))
            }
        }
    )*};
}

descriptors!(
    OwnedFd,
    File,
    TcpStream,
    TcpListener,
    UdpSocket,
    UnixStream,
    UnixListener,
    UnixDatagram
);

impl Transfer for () {
    fn encode<'a>(&'a self, _encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
        Ok(())
    }

    fn decode(_decoder: &mut Decoder) -> Result<Self, TransferError> {
        Ok(())
    }
}

macro_rules! tuples {
    ($(($($name:ident),*)),*) => {$(
        impl<$($name: Transfer),*> Transfer for ($($name,)*) {
            #[expect(non_snake_case, reason = "the variables are named after the type parameters")]
            fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError> {
                let ($($name,)*) = self;
                $($name.encode(encoder)?;)*
                Ok(())
            }

            fn decode(decoder: &mut Decoder) -> Result<Self, TransferError> {
                Ok(($($name::decode(decoder)?,)*))
            }
        }
    )*};
}

tuples!((A), (A, B), (A, B, C), (A, B, C, D));

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn send<R: Transfer>(request: &R) -> Result<R, TransferError> {
        let encoder = Encoder::of(request, 1 << 20)?;
        let descriptors = encoder
            .descriptors()
            .iter()
            .map(|fd| fd.as_fd().try_clone_to_owned().expect("a free descriptor"))
            .collect();
        Decoder::new(encoder.bytes().to_vec(), descriptors).decode_request()
    }

    #[test]
    fn a_decoded_request_equals_the_encoded_one() {
        assert_eq!(send(&()).unwrap(), ());
        assert_eq!(send(&b"bytes".to_vec()).unwrap(), b"bytes");
        assert_eq!(send(&(String::from("a"), Vec::new())).unwrap(), ("a".into(), Vec::new()));
        assert_eq!(send(&Some(Serde((7_u32, "x".to_owned())))).unwrap().unwrap().0.0, 7);
        assert_eq!(send(&None::<String>).unwrap(), None);
    }

    #[test]
    fn a_decoded_socket_is_still_connected() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut socket, note) = send(&(near, String::from("note"))).unwrap();
        socket.write_all(b"hello").unwrap();
        let mut received = [0; 5];
        far.read_exact(&mut received).unwrap();
        assert_eq!((&received, note.as_str()), (b"hello", "note"));
    }

    #[test]
    fn the_error_for_a_large_request_states_size_and_limit() {
        let error = Encoder::of(&vec![0_u8; 100], 64).unwrap_err();
        assert_eq!(error.to_string(), "cannot send a request of 108 bytes: the limit is 64 bytes");
    }

    #[test]
    fn decoding_invalid_data_is_an_error_and_never_a_panic() {
        for bytes in
            [vec![], vec![1], vec![255; 8], vec![255; 20], vec![3, 0, 0, 0, 0, 0, 0, 0, b'x']]
        {
            let open = |bytes: &Vec<u8>| Decoder::new(bytes.clone(), VecDeque::new());
            assert!(open(&bytes).decode_request::<String>().is_err(), "{bytes:?}");
            assert!(open(&bytes).decode_request::<Serde<(u64, String)>>().is_err(), "{bytes:?}");
            assert!(open(&bytes).decode_request::<TcpStream>().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn bytes_that_are_left_over_after_decoding_are_an_error() {
        let decoder = Decoder::new(vec![0; 8], VecDeque::new());
        assert!(matches!(
            decoder.decode_request::<()>(),
            Err(TransferError::LeftOver { bytes: 8, .. })
        ));
    }
}
