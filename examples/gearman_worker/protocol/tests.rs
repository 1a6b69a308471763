//! Tests the encoding of every request and the decoding of every response, byte by byte. Also tests
//! the decoding of random bytes.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> GearmanName {
    GearmanName::new(text).expect("a valid name")
}

fn handle() -> JobHandle {
    JobHandle(b"H:lap:1".to_vec())
}

fn response(kind: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).expect("the body is short");
    [b"\0RES".as_slice(), &kind.to_be_bytes(), &size.to_be_bytes(), body].concat()
}

fn read(bytes: &[u8]) -> Result<Option<Response>, Malformed> {
    let mut buffer = ResponseBuffer::default();
    buffer.add(bytes);
    buffer.take()
}

#[test]
fn each_gearman_request_is_encoded_to_the_expected_bytes() {
    let (id, reverse, handle) = (name("worker-1"), name("reverse"), handle());
    let handle = &handle;
    let table: [(WorkerRequest<'_>, &[u8]); 10] = [
        (WorkerRequest::CanDo(&reverse), b"\0REQ\0\0\0\x01\0\0\0\x07reverse"),
        (WorkerRequest::ResetAbilities, b"\0REQ\0\0\0\x03\0\0\0\0"),
        (WorkerRequest::PreSleep, b"\0REQ\0\0\0\x04\0\0\0\0"),
        (WorkerRequest::GrabJob, b"\0REQ\0\0\0\x09\0\0\0\0"),
        (
            WorkerRequest::WorkStatus { handle, done: 3, of: 10 },
            b"\0REQ\0\0\0\x0c\0\0\0\x0cH:lap:1\x003\x0010",
        ),
        (
            WorkerRequest::WorkComplete { handle, result: b"tset" },
            b"\0REQ\0\0\0\x0d\0\0\0\x0cH:lap:1\0tset",
        ),
        (WorkerRequest::WorkFail { handle }, b"\0REQ\0\0\0\x0e\0\0\0\x07H:lap:1"),
        (WorkerRequest::Echo(b"a\0b"), b"\0REQ\0\0\0\x10\0\0\0\x03a\0b"),
        (WorkerRequest::SetClientId(&id), b"\0REQ\0\0\0\x16\0\0\0\x08worker-1"),
        (
            WorkerRequest::WorkWarning { handle, text: b"oh" },
            b"\0REQ\0\0\0\x1d\0\0\0\x0aH:lap:1\0oh",
        ),
    ];
    for (request, bytes) in table {
        let mut out = Vec::new();
        request.append_to(&mut out).expect("the body is short");
        assert_eq!(out, bytes, "{request:?}");
    }
}

#[test]
fn each_gearman_response_is_decoded_to_the_expected_value() {
    let assigned = |workload: &[u8]| {
        Response::JobAssign(AssignedJob {
            handle: handle(),
            function: b"reverse".to_vec(),
            workload: workload.to_vec(),
        })
    };
    let refused = Response::Error { code: "JOB_NOT_FOUND".into(), text: "no such job".into() };
    let table: [(&[u8], Response); 8] = [
        (b"\0RES\0\0\0\x06\0\0\0\0", Response::Noop),
        (b"\0RES\0\0\0\x0a\0\0\0\0", Response::NoJob),
        (b"\0RES\0\0\0\x0a\0\0\0\x02oh", Response::NoJob),
        (b"\0RES\0\0\0\x0b\0\0\0\x14H:lap:1\0reverse\0test", assigned(b"test")),
        (b"\0RES\0\0\0\x0b\0\0\0\x10H:lap:1\0reverse\0", assigned(b"")),
        (b"\0RES\0\0\0\x0b\0\0\0\x13H:lap:1\0reverse\0a\0b", assigned(b"a\0b")),
        (b"\0RES\0\0\0\x11\0\0\0\x03a\0b", Response::Echo(b"a\0b".to_vec())),
        (b"\0RES\0\0\0\x13\0\0\0\x19JOB_NOT_FOUND\0no such job", refused),
    ];
    for (bytes, expected) in table {
        assert_eq!(read(bytes), Ok(Some(expected)), "{bytes:?}");
    }
}

#[test]
fn invalid_responses_are_refused_with_the_reason() {
    let long = format!("{}\0reverse\0", "H".repeat(64));
    let table: [(Vec<u8>, &str); 10] = [
        (b"HTTP/1.1 400".to_vec(), r#"packet begins with "HTTP", expected "\0RES""#),
        (b"H".to_vec(), r#"packet begins with "H", expected "\0RES""#),
        (b"\0REQ\0\0\0\x06\0\0\0\0".to_vec(), r#"packet begins with "\0REQ", expected "\0RES""#),
        (response(0, b""), "unexpected packet type 0"),
        (response(8, b"H:lap:1"), "unexpected packet type 8"),
        (
            b"\0RES\0\0\0\x0b\x04\0\0\x01".to_vec(),
            "packet of type 11 has 67108865 bytes: the limit is 67108864 bytes",
        ),
        (response(11, b"H:lap:1"), "JOB_ASSIGN ends before its function"),
        (response(11, b"H:lap:1\0reverse"), "JOB_ASSIGN ends before its workload"),
        (response(11, long.as_bytes()), "JOB_ASSIGN has a handle of 64 bytes: expected 1 to 63"),
        (response(19, b"OH"), "ERROR ends before its text"),
    ];
    for (bytes, expected) in table {
        let refused = read(&bytes).expect_err(expected);
        assert_eq!(refused.to_string(), expected);
    }
    assert_eq!(read(&response(11, b"\0reverse\0")), Err(Malformed::Handle(0)));
}

#[test]
fn an_incomplete_packet_is_not_decoded() {
    let whole = b"\0RES\0\0\0\x0b\0\0\0\x14H:lap:1\0reverse\0test";
    for length in 0..whole.len() {
        assert_eq!(read(&whole[..length]), Ok(None), "{length} bytes");
    }
}

#[test]
fn a_packet_that_is_too_long_is_not_appended() {
    let result = vec![b'x'; BODY_MAX];
    let mut out = b"before".to_vec();
    let refused =
        WorkerRequest::WorkComplete { handle: &handle(), result: &result }.append_to(&mut out);
    assert_eq!(refused, Err(PacketTooLong(BODY_MAX + 8)));
    assert_eq!(out, b"before");
    let fits = &result[8..];
    WorkerRequest::WorkComplete { handle: &handle(), result: fits }
        .append_to(&mut out)
        .expect("the packet fits");
}

#[test]
fn names_with_whitespace_or_more_than_127_bytes_are_refused() {
    let longest = "n".repeat(NAME_MAX);
    for good in ["reverse", "a", "grüße", "a:b-c.d", &longest] {
        assert_eq!(name(good).as_bytes(), good.as_bytes());
    }
    let too_long = "n".repeat(NAME_MAX + 1);
    for bad in ["", "two words", "nul\0", "tab\t", "line\n", &too_long] {
        assert_eq!(GearmanName::new(bad), Err(InvalidName(bad.to_owned())));
    }
}

fn any_response() -> impl Strategy<Value = (Vec<u8>, Response)> {
    let word = || prop::collection::vec(1_u8.., 0..40);
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        Just((response(6, b""), Response::Noop)),
        Just((response(10, b""), Response::NoJob)),
        bytes().prop_map(|bytes| (response(17, &bytes), Response::Echo(bytes))),
        ("[A-Z_]{0,20}", "[ -~]{0,40}").prop_map(|(code, text)| {
            (response(19, format!("{code}\0{text}").as_bytes()), Response::Error { code, text })
        }),
        (prop::collection::vec(1_u8.., 1..=HANDLE_MAX), word(), bytes()).prop_map(
            |(handle, function, workload)| {
                let body = [&handle[..], b"\0", &function, b"\0", &workload].concat();
                let handle = JobHandle(handle);
                (
                    response(11, &body),
                    Response::JobAssign(AssignedJob { handle, function, workload }),
                )
            }
        ),
    ]
}

proptest! {
    #[test]
    fn responses_are_decoded_in_order_for_any_split_of_the_bytes(
        sent in prop::collection::vec(any_response(), 0..8),
        cuts in prop::collection::vec(1_usize..30, 1..20),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<Response> = sent.into_iter().map(|(_, response)| response).collect();
        let mut buffer = ResponseBuffer::default();
        let mut taken = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.into_iter().cycle() {
            let (chunk, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            buffer.add(chunk);
            while let Some(response) = buffer.take()? {
                taken.push(response);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(taken, expected);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn random_bytes_cause_no_panic_and_after_invalid_bytes_every_response_is_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        kind in prop::sample::select(vec![0_u32, 6, 8, 10, 11, 17, 19, 77]),
        size in 0_u32..64,
    ) {
        let header = [b"\0RES".as_slice(), &kind.to_be_bytes(), &size.to_be_bytes()].concat();
        for bytes in [bytes.clone(), [header, bytes].concat()] {
            let mut buffer = ResponseBuffer::default();
            buffer.add(&bytes);
            let refused = loop {
                match buffer.take() {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(malformed) => break Some(malformed),
                }
            };
            if let Some(malformed) = refused {
                buffer.add(b"\0RES\0\0\0\x06\0\0\0\0");
                let again = buffer.take();
                // The second error may show more bytes of a magic that was incomplete at first.
                prop_assert!(again.is_err(), "{malformed} and then {again:?}");
            }
        }
    }
}
