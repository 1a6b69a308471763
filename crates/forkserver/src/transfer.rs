//! How a request is sent from the parent to a child: as bytes and descriptors, never as a Rust
//! value.

mod codec;
mod kinds;

pub use codec::{Decoder, Encoder};
pub use kinds::Serde;

/// The largest number of descriptors in one request.
///
/// Linux accepts 253 descriptors in one message (`SCM_MAX_FD`, unix(7)). This limit is lower, to be
/// portable.
pub const DESCRIPTORS_MAX: usize = 60;

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
///         Ok(TenantRequest { peer: TcpStream::decode(decoder)?, tenant: String::decode(decoder)? })
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

#[cfg(test)]
mod tests;
