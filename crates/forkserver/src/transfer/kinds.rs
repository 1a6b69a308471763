//! The types that implement [`Transfer`].

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Decoder, Encoder, Transfer, TransferError};

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
