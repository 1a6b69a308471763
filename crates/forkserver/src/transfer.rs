//! How a request crosses from the parent to its child: as bytes and descriptors, never as a Rust value.

mod codec;
mod kinds;

pub use codec::{Decoder, Encoder};
pub use kinds::Serde;

/// The most descriptors that one request may carry.
///
/// Linux takes 253 in one message (`SCM_MAX_FD`, unix(7)); a portable limit is lower.
pub const DESCRIPTORS_MAX: usize = 60;

/// A value that can be handed to a child process.
///
/// The parent packs a *copy*: the original stays with the parent until the child is born, and a
/// fork that fails gives it back. Descriptors are borrowed for packing and duplicated by the
/// kernel on the way.
///
/// It is implemented for what a server hands over: std's sockets and files,
/// [`OwnedFd`](std::os::fd::OwnedFd), bytes, strings, `()`, tuples of up to four of these, [`Option`],
/// and any serde value inside [`Serde`].
///
/// # Examples
///
/// A request of one's own is packed field by field, and unpacked in the same order:
///
/// ```
/// use std::net::TcpStream;
/// use daemon_forkserver::{Decoder, Transfer, TransferError, Encoder};
///
/// struct Call { peer: TcpStream, tenant: String }
///
/// impl Transfer for Call {
///     fn pack<'a>(&'a self, parcel: &mut Encoder<'a>) -> Result<(), TransferError> {
///         self.peer.pack(parcel)?;
///         self.tenant.pack(parcel)
///     }
///     fn unpack(delivery: &mut Decoder) -> Result<Self, TransferError> {
///         Ok(Call { peer: TcpStream::unpack(delivery)?, tenant: String::unpack(delivery)? })
///     }
/// }
/// ```
pub trait Transfer: Sized + Unpin + 'static {
    /// Puts a copy of the value into the parcel.
    ///
    /// # Errors
    ///
    /// When the value does not fit: too many descriptors, or serde refuses it.
    fn encode<'a>(&'a self, encoder: &mut Encoder<'a>) -> Result<(), TransferError>;

    /// Takes the value out again, in the child.
    ///
    /// # Errors
    ///
    /// When the delivery does not hold such a value.
    fn decode(decoder: &mut Decoder) -> Result<Self, TransferError>;
}

/// Why a value could not be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The packed request is larger than the fork server's limit.
    #[error("cannot hand over a request of {size} bytes: the limit is {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes, set by [`ForkServerBuilder::request_limit`](crate::Plan::request_limit).
        limit: usize,
    },
    /// The request carries more descriptors than one message can.
    #[error(
        "cannot hand over {count} descriptors with one request: the limit is {DESCRIPTORS_MAX}"
    )]
    TooManyDescriptors {
        /// How many it carries.
        count: usize,
    },
    /// A serde value could not be written.
    #[error("cannot pack the request: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A serde value could not be read.
    #[error("cannot unpack the request: {0}")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bytes end before the value does.
    #[error("cannot unpack the request: {wanted} bytes more were expected, {left} are left")]
    Truncated {
        /// How many bytes the value wants.
        wanted: usize,
        /// How many there are.
        left: usize,
    },
    /// A text is not UTF-8.
    #[error("cannot unpack the request: its text is not UTF-8")]
    NotText,
    /// A descriptor is missing.
    #[error("cannot unpack the request: a descriptor is missing")]
    MissingDescriptor,
    /// Something is left after the value was read.
    #[error("cannot unpack the request: {bytes} bytes and {descriptors} descriptors are left over")]
    LeftOver {
        /// Bytes left.
        bytes: usize,
        /// Descriptors left.
        descriptors: usize,
    },
    /// The system refused to carry it.
    #[error("cannot carry the request across: {0}")]
    SharedMemory(#[from] daemon_sys::Error),
}

#[cfg(test)]
mod tests;
