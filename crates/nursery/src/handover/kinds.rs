//! What can be handed over without more ado.

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Delivery, Handover, HandoverError, Parcel};

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
        let bytes =
            postcard::to_stdvec(&self.0).map_err(|error| HandoverError::Pack(error.into()))?;
        parcel.put_bytes(&bytes);
        Ok(())
    }

    fn unpack(delivery: &mut Delivery) -> Result<Self, HandoverError> {
        postcard::from_bytes(delivery.take_bytes()?)
            .map(Serde)
            .map_err(|error| HandoverError::Unpack(error.into()))
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

            #[inline]
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

impl Handover for () {
    fn pack<'a>(&'a self, _parcel: &mut Parcel<'a>) -> Result<(), HandoverError> {
        Ok(())
    }

    fn unpack(_delivery: &mut Delivery) -> Result<Self, HandoverError> {
        Ok(())
    }
}

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

tuples!((A), (A, B), (A, B, C), (A, B, C, D));
