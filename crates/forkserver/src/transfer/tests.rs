use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::*;

fn across<R: Transfer>(request: &R) -> Result<R, TransferError> {
    let encoder = Encoder::of(request, 1 << 20)?;
    let descriptors = encoder
        .descriptors()
        .iter()
        .map(|fd| fd.as_fd().try_clone_to_owned().expect("a spare descriptor"))
        .collect();
    Decoder::new(encoder.bytes().to_vec(), descriptors).decode_request()
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
    let error = Encoder::of(&vec![0_u8; 100], 64).unwrap_err();
    assert_eq!(error.to_string(), "cannot hand over a request of 108 bytes: the limit is 64 bytes");
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    for bytes in [vec![], vec![1], vec![255; 8], vec![255; 20], vec![3, 0, 0, 0, 0, 0, 0, 0, b'x']]
    {
        let open = |bytes: &Vec<u8>| Decoder::new(bytes.clone(), VecDeque::new());
        assert!(open(&bytes).decode_request::<String>().is_err(), "{bytes:?}");
        assert!(open(&bytes).decode_request::<Serde<(u64, String)>>().is_err(), "{bytes:?}");
        assert!(open(&bytes).decode_request::<TcpStream>().is_err(), "{bytes:?}");
    }
}

#[test]
fn what_is_left_over_is_told() {
    let decoder = Decoder::new(vec![0; 8], VecDeque::new());
    assert!(matches!(
        decoder.decode_request::<()>(),
        Err(TransferError::LeftOver { bytes: 8, .. })
    ));
}
