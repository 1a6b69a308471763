//! How a request crosses from the parent to its child: as bytes and descriptors, never as a Rust value.

use std::collections::VecDeque;
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Up to so many bytes a delivery is not worth freeing.
const SMALL: usize = 4096;

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
/// It is implemented for what a server hands over: std's sockets and files, [`OwnedFd`], bytes,
/// strings, `()`, tuples of up to four of these, [`Option`], and any serde value inside [`Serde`].
///
/// # Examples
///
/// A request of one's own is packed field by field, and unpacked in the same order:
///
/// ```
/// use std::net::TcpStream;
/// use daemon_nursery::{Delivery, Handover, HandoverError, Parcel};
///
/// struct Call { peer: TcpStream, tenant: String }
///
/// impl Handover for Call {
///     fn pack<'a>(&'a self, parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
///         self.peer.pack(parcel)?;
///         self.tenant.pack(parcel)
///     }
///     fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError> {
///         Ok(Call { peer: TcpStream::unpack(delivery)?, tenant: String::unpack(delivery)? })
///     }
/// }
/// ```
pub trait Handover: Sized + Unpin + 'static {
    /// Puts a copy of the value into the parcel.
    ///
    /// # Errors
    ///
    /// When the value does not fit: too many descriptors, or serde refuses it.
    fn pack<'a>(&'a self, parcel: &mut Parcel<'a>) -> Result<(), HandoverError>;

    /// Takes the value out again, in the child.
    ///
    /// # Errors
    ///
    /// When the delivery does not hold such a value.
    fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError>;
}

/// Why a value could not be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The packed request is larger than the nursery's limit.
    #[error("cannot hand over a request of {size} bytes: the limit is {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes, set by [`Plan::request_limit`](crate::Plan::request_limit).
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
    Pack(#[source] postcard::Error),
    /// A serde value could not be read.
    #[error("cannot unpack the request: {0}")]
    Unpack(#[source] postcard::Error),
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
    Carry(#[from] daemon_sys::Error),
}

/// What is being sent: bytes in order, and borrowed descriptors in order.
#[derive(Debug, Default)]
pub struct Parcel<'a> {
    bytes: Vec<u8>,
    descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Parcel<'a> {
    /// Packs a whole request.
    pub(crate) fn of<R: Handover>(request: &'a R, limit: usize) -> Result<Self, HandoverError> {
        let mut parcel = Parcel::default();
        request.pack(&mut parcel)?;
        if parcel.bytes.len() > limit {
            return Err(HandoverError::TooLarge { size: parcel.bytes.len(), limit });
        }
        if parcel.descriptors.len() > DESCRIPTORS_MAX {
            return Err(HandoverError::TooManyDescriptors { count: parcel.descriptors.len() });
        }
        Ok(parcel)
    }

    /// Adds bytes, after their length.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds a descriptor.
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

/// What has arrived: the same bytes and descriptors, owned by the child now.
#[derive(Debug)]
pub struct Delivery {
    bytes: Vec<u8>,
    read: usize,
    descriptors: VecDeque<OwnedFd>,
}

impl Delivery {
    pub(crate) fn new(bytes: Vec<u8>, descriptors: VecDeque<OwnedFd>) -> Self {
        Delivery { bytes, read: 0, descriptors }
    }

    /// Unpacks a whole request, and sees to it that nothing is left over.
    pub(crate) fn open<R: Handover>(mut self) -> Result<R, HandoverError> {
        let request = R::unpack(&mut self)?;
        let (bytes, descriptors) = (self.bytes.len() - self.read, self.descriptors.len());
        if bytes > 0 || descriptors > 0 {
            return Err(HandoverError::LeftOver { bytes, descriptors });
        }
        if self.bytes.capacity() <= SMALL {
            // In a child that has just been forked, to free a little memory is to copy its page.
            std::mem::forget(self);
        }
        Ok(request)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`HandoverError::Truncated`] when fewer are left than their length says.
    pub fn take_bytes(&mut self) -> Result<&[u8], HandoverError> {
        let length = self.take(size_of::<u64>())?;
        let length = length.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Takes the next descriptor.
    ///
    /// # Errors
    ///
    /// [`HandoverError::MissingDescriptor`] when there is none.
    pub fn take_descriptor(&mut self) -> Result<OwnedFd, HandoverError> {
        self.descriptors.pop_front().ok_or(HandoverError::MissingDescriptor)
    }

    fn take(&mut self, wanted: usize) -> Result<&[u8], HandoverError> {
        let left = self.bytes.len() - self.read;
        if wanted > left {
            return Err(HandoverError::Truncated { wanted, left });
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
/// use daemon_nursery::Serde;
///
/// #[derive(Serialize, Deserialize)]
/// struct Ticket { tenant: String, attempt: u32 }
///
/// // a connection and what the parent has found out about it
/// type Request = (TcpStream, Serde<Ticket>);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serde<T>(pub T);

impl<T: Serialize + DeserializeOwned + Unpin + 'static> Handover for Serde<T> {
    fn pack<'a>(&'a self, parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
        let bytes = postcard::to_stdvec(&self.0).map_err(HandoverError::Pack)?;
        parcel.put_bytes(&bytes);
        Ok(())
    }

    fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError> {
        postcard::from_bytes(delivery.take_bytes()?).map(Serde).map_err(HandoverError::Unpack)
    }
}

impl Handover for Vec<u8> {
    fn pack<'a>(&'a self, parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
        parcel.put_bytes(self);
        Ok(())
    }

    fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError> {
        Ok(delivery.take_bytes()?.to_vec())
    }
}

impl Handover for String {
    fn pack<'a>(&'a self, parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
        parcel.put_bytes(self.as_bytes());
        Ok(())
    }

    fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError> {
        let bytes = delivery.take_bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|_not_utf8| HandoverError::NotText)
    }
}

impl<T: Handover> Handover for Option<T> {
    fn pack<'a>(&'a self, parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
        match self {
            None => parcel.put_bytes(&[]),
            Some(value) => {
                parcel.put_bytes(&[1]);
                value.pack(parcel)?;
            }
        }
        Ok(())
    }

    fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError> {
        if delivery.take_bytes()?.is_empty() { Ok(None) } else { T::unpack(delivery).map(Some) }
    }
}

macro_rules! descriptors {
    ($($kind:ty),*) => {$(
        impl Handover for $kind {
            fn pack<'a>(&'a self, parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
                parcel.put_descriptor(self.as_fd());
                Ok(())
            }

            fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError> {
                Ok(Self::from(delivery.take_descriptor()?))
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

macro_rules! tuples {
    ($(($($name:ident),*)),*) => {$(
        impl<$($name: Handover),*> Handover for ($($name,)*) {
            #[expect(non_snake_case, reason = "the type parameters' names serve for the fields")]
            fn pack<'a>(&'a self, parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
                let ($($name,)*) = self;
                $($name.pack(parcel)?;)*
                Ok(())
            }

            fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError> {
                Ok(($($name::unpack(delivery)?,)*))
            }
        }
    )*};
}

impl Handover for () {
    fn pack<'a>(&'a self, _parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
        Ok(())
    }

    fn unpack(_delivery: &mut Delivery) -> Result<Self, HandoverError> {
        Ok(())
    }
}

tuples!((A), (A, B), (A, B, C), (A, B, C, D));

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    fn across<R: Handover>(request: &R) -> Result<R, HandoverError> {
        let parcel = Parcel::of(request, 1 << 20)?;
        let descriptors = parcel
            .descriptors()
            .iter()
            .map(|fd| fd.as_fd().try_clone_to_owned().expect("a spare descriptor"))
            .collect();
        Delivery::new(parcel.bytes().to_vec(), descriptors).open()
    }

    #[test]
    fn what_is_packed_comes_out_the_same() {
        assert_eq!(across(&()).unwrap(), ());
        assert_eq!(across(&b"bytes".to_vec()).unwrap(), b"bytes");
        assert_eq!(across(&(String::from("a"), Vec::new())).unwrap(), ("a".into(), Vec::new()));
        assert_eq!(across(&Some(Serde((7_u32, "x".to_owned())))).unwrap().unwrap().0.0, 7);
        assert_eq!(across(&None::<String>).unwrap(), None);
    }

    #[test]
    fn a_socket_comes_out_connected() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut handed, note) = across(&(near, String::from("note"))).unwrap();
        handed.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        far.read_exact(&mut heard).unwrap();
        assert_eq!((&heard, note.as_str()), (b"hello", "note"));
    }

    #[test]
    fn too_large_a_request_is_told_its_size_and_the_limit() {
        let error = Parcel::of(&vec![0_u8; 100], 64).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot hand over a request of 108 bytes: the limit is 64 bytes"
        );
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        for bytes in
            [vec![], vec![1], vec![255; 8], vec![255; 20], vec![3, 0, 0, 0, 0, 0, 0, 0, b'x']]
        {
            let open = |bytes: &Vec<u8>| Delivery::new(bytes.clone(), VecDeque::new());
            assert!(open(&bytes).open::<String>().is_err(), "{bytes:?}");
            assert!(open(&bytes).open::<Serde<(u64, String)>>().is_err(), "{bytes:?}");
            assert!(open(&bytes).open::<TcpStream>().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_left_over_is_told() {
        let delivery = Delivery::new(vec![0; 8], VecDeque::new());
        assert!(matches!(delivery.open::<()>(), Err(HandoverError::LeftOver { bytes: 8, .. })));
    }
}
