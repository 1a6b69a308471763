//! Encodes a request in the parent, and decodes it in the child.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::{DESCRIPTORS_MAX, Transfer, TransferError};

/// A decoder buffer up to this size in bytes is not freed.
const SMALL: usize = 4096;

/// Collects the bytes and the borrowed descriptors of a request, in the order in which they are
/// added.
#[derive(Debug, Default)]
pub struct Encoder<'a> {
    bytes: Vec<u8>,
    descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Encoder<'a> {
    /// Encodes a whole request, and checks its size and its number of descriptors.
    pub(crate) fn of<R: Transfer>(request: &'a R, limit: usize) -> Result<Self, TransferError> {
        let mut encoder = Encoder::default();
        request.encode(&mut encoder)?;
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
