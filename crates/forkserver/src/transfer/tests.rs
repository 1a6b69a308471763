use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

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
    for bytes in [vec![], vec![1], vec![255; 8], vec![255; 20], vec![3, 0, 0, 0, 0, 0, 0, 0, b'x']]
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
