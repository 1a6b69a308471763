//! What parameters and results are on their way: bytes, in a frame or in a memory file.
//!
//! They are in the MessagePack format, which tells types apart and holds numbers by their value: who
//! sends `640` need not say whether that is an `i32` or a `u32`, and what does not fit is found out.

mod bulk;
mod letter;
mod shelf;

use std::io;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

pub use bulk::Bytes;
use letter::Draft;
pub(crate) use letter::Letter;
pub(crate) use shelf::{LINGER, tidy};

/// From so many bytes on a body goes by a memory file.
pub(crate) const SHARED_FROM: usize = 64 * 1024;

/// The largest body that is taken from another process: 4 GiB, less a byte.
pub(crate) const BODY_MAX: usize = u32::MAX as usize;

/// Encoded parameters, or an encoded result.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// In memory of this process: few enough to go in a frame, or come from another process.
    Here(bytes::Bytes),
    /// In memory that can be passed on by its descriptor.
    Shared(Arc<Letter>),
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
    /// No bytes at all.
    pub(crate) const NONE: Body = Body::Here(bytes::Bytes::new());

    /// The value `()`: MessagePack's nil.
    pub(crate) const UNIT: Body = Body::Here(bytes::Bytes::from_static(&[0xc0]));

    /// Encodes a value; a large one straight into a memory file.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Body, EncodeError> {
        let mut spill = Spill::default();
        let encoded = value.serialize(&mut rmp_serde::Serializer::new(&mut spill));
        if let Some(why) = spill.trouble {
            return Err(EncodeError::Memory(why));
        }
        encoded.map_err(|error| EncodeError::Value(error.to_string()))?;
        Ok(spill.end())
    }

    /// A body from bytes that were encoded elsewhere.
    pub(crate) fn raw(bytes: Vec<u8>) -> Result<Body, EncodeError> {
        if bytes.len() < SHARED_FROM {
            return Ok(Body::Here(bytes.into()));
        }
        let mut spill = Spill::default();
        spill.take(&bytes).map_err(|error| EncodeError::Memory(error.to_string()))?;
        Ok(spill.end())
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Body::Here(bytes) => bytes,
            Body::Shared(letter) => letter.bytes(),
        }
    }

    /// Decodes the value. What is bulk in it may keep a share in these bytes.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, String> {
        match self {
            Body::Here(bytes) => bulk::sharing(bytes, decode::<T>),
            Body::Shared(letter) => decode(letter.bytes()),
        }
    }

    /// Whether what it is in is to be written again, once nobody reads it any more.
    pub(crate) fn is_used_again(&self) -> bool {
        match self {
            Body::Here(_) => false,
            Body::Shared(letter) => letter.is_used_again(),
        }
    }

    /// Who was sent it may still read it, though nobody waits for that any more.
    pub(crate) fn withdraw(&self) {
        match self {
            Body::Here(_) => {}
            Body::Shared(letter) => letter.withdraw(),
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
    bulk::skimming(|| decode::<T>(bytes).map(drop))
}

/// Bytes of a value: kept until they are many, then put into a memory file as they come.
#[derive(Default)]
struct Spill {
    bytes: Vec<u8>,
    draft: Option<Draft>,
    trouble: Option<String>,
}

impl Spill {
    fn take(&mut self, data: &[u8]) -> Result<(), daemon_sys::Error> {
        match &mut self.draft {
            Some(draft) => draft.append(data),
            None if self.bytes.len() + data.len() < SHARED_FROM => {
                self.bytes.extend_from_slice(data);
                Ok(())
            }
            None => {
                let mut draft = Draft::begin(&self.bytes, data.len())?;
                self.bytes = Vec::new();
                draft.append(data)?;
                self.draft = Some(draft);
                Ok(())
            }
        }
    }

    fn end(self) -> Body {
        match self.draft {
            None => Body::Here(self.bytes.into()),
            Some(draft) => Body::Shared(Arc::new(draft.end())),
        }
    }
}

impl io::Write for Spill {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.take(data) {
            Ok(()) => Ok(data.len()),
            Err(error) => {
                self.trouble = Some(error.to_string());
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
        assert!(matches!(small, Body::Here(_)), "{small:?}");
        let large = Body::of(&("name", Bytes::from(vec![7; SHARED_FROM]), 9_u32)).unwrap();
        assert!(matches!(large, Body::Shared(_)), "{large:?}");
        let (name, bulk, number): (String, Bytes, u32) = large.decode().unwrap();
        assert_eq!((name.as_str(), bulk.len(), bulk[9], number), ("name", SHARED_FROM, 7, 9));
    }

    fn bytes(body: Body) -> Vec<u8> {
        body.bytes().to_vec()
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
            Body::Here(_) => panic!("it is in no file"),
            Body::Shared(letter) => {
                nix::sys::stat::fstat(letter.fd().unwrap()).unwrap().st_ino as u64
            }
        }
    }

    #[test]
    fn a_letter_s_file_is_used_again_unless_it_was_withdrawn() {
        // A size that no other test has: they run beside this one.
        let value = |byte| Bytes::from(vec![byte; 5_000_000]);
        let first = Body::of(&value(1)).unwrap();
        let (twin, used) = (first.clone(), file(&first));
        drop(first);
        let second = Body::of(&value(2)).unwrap();
        assert_ne!(file(&second), used, "somebody still has it");
        assert_eq!(twin.decode::<Bytes>().unwrap(), value(1));
        drop(twin);
        let third = Body::of(&value(3)).unwrap();
        assert_eq!(file(&third), used);
        assert_eq!(third.decode::<Bytes>().unwrap(), value(3));
        third.withdraw();
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
        let come = Body::Here(encoded.into());
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
