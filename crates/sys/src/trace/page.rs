//! The shared page that holds a backtrace request and its response.
//!
//! The upper half of every word is the number of the request that the word belongs to. A child that
//! is stopped while it writes a response, and continues after a request for another child, can
//! overwrite words of the other child's response. The overwritten words have the wrong number, so
//! the other child's response becomes invalid, but it is never mistaken for a valid one.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromBytes;

/// The maximum number of addresses in a response; the outermost callers are left out.
pub const MAX_FRAMES: usize = 64;

/// The page, all zero before the first request.
#[repr(C)]
#[derive(Debug, FromBytes)]
pub(super) struct BacktracePage {
    /// The request's number and the pid of the requested process. When the requested process
    /// accepts the request, it sets the pid to 0.
    request: AtomicU64,
    /// The request's number and the count of addresses in the response. Written after the
    /// addresses.
    response: AtomicU64,
    /// Each address takes two words. The first word contains the request's number and the upper
    /// half of the address, the second word the number and the lower half.
    addresses: [[AtomicU64; 2]; MAX_FRAMES],
}

impl BacktracePage {
    pub(super) fn request(&self, number: u32, pid: u32) {
        self.request.store(tagged(number, pid), Ordering::Release);
    }

    /// Accepts the request if it is for the process with this pid. If the request's
    /// signal interrupts several threads of the process, only one of them accepts the request.
    pub(super) fn accept(&self, pid: u32) -> Option<ResponseWriter<'_>> {
        let request = self.request.load(Ordering::Acquire);
        let (number, target) = parts(request);
        let accepted = tagged(number, 0);
        let claim = || {
            self.request.compare_exchange(request, accepted, Ordering::AcqRel, Ordering::Relaxed)
        };
        (target == pid && pid != 0 && claim().is_ok()).then_some(ResponseWriter {
            page: self,
            number,
            length: 0,
        })
    }

    /// Returns the response to the request with this number, if the response is complete.
    pub(super) fn response(&self, number: u32) -> Option<Vec<usize>> {
        let length = half(&self.response, number, Ordering::Acquire)?;
        let addresses = self.addresses.get(..usize::try_from(length).ok()?)?;
        addresses
            .iter()
            .map(|[upper, lower]| {
                let upper = half(upper, number, Ordering::Relaxed)?;
                let lower = half(lower, number, Ordering::Relaxed)?;
                usize::try_from(tagged(upper, lower)).ok()
            })
            .collect()
    }
}

/// Writes a response from within a signal handler.
#[derive(Debug)]
pub(super) struct ResponseWriter<'a> {
    page: &'a BacktracePage,
    number: u32,
    length: u32,
}

impl ResponseWriter<'_> {
    /// Adds an address, unless the response is full or another request has replaced this one.
    pub(super) fn add(&mut self, address: usize) -> ControlFlow<()> {
        let request = self.page.request.load(Ordering::Relaxed);
        let words = self.page.addresses.get(self.length as usize);
        let (Some([upper, lower]), true) = (words, request == tagged(self.number, 0)) else {
            return ControlFlow::Break(());
        };
        let address = address as u64;
        upper.store(tagged(self.number, (address >> 32) as u32), Ordering::Relaxed);
        lower.store(tagged(self.number, address as u32), Ordering::Relaxed);
        self.length += 1;
        ControlFlow::Continue(())
    }

    /// Makes the response valid.
    pub(super) fn finish(self) {
        self.page.response.store(tagged(self.number, self.length), Ordering::Release);
    }
}

/// Reads bytes as a page, and accepts and writes a response in it.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn check(bytes: &[u8]) {
    let mut contents = [0; size_of::<BacktracePage>()];
    contents.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let Ok(page) = BacktracePage::read_from_bytes(&contents) else { return };
    let (number, target) = parts(page.request.load(Ordering::Acquire));
    for number in [number, parts(page.response.load(Ordering::Acquire)).0, 0, 1, u32::MAX] {
        let addresses = page.response(number).unwrap_or_default();
        assert!(addresses.len() <= MAX_FRAMES);
    }
    if let Some(mut writer) = page.accept(target) {
        while writer.add(1).is_continue() {}
        writer.finish();
        assert_eq!(page.response(number), Some(vec![1; MAX_FRAMES]));
    }
}

fn tagged(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// Returns a word's lower half if its upper half is this number.
fn half(word: &AtomicU64, number: u32, order: Ordering) -> Option<u32> {
    let (upper, half) = parts(word.load(order));
    (upper == number).then_some(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u32 = 4711;
    const THEIRS: u32 = 4712;

    fn page() -> BacktracePage {
        BacktracePage::read_from_bytes(&[0; size_of::<BacktracePage>()]).expect("a page of bytes")
    }

    fn respond(mut writer: ResponseWriter<'_>, addresses: impl IntoIterator<Item = usize>) {
        let _ = addresses.into_iter().try_for_each(|address| writer.add(address));
        writer.finish();
    }

    #[test]
    fn a_response_is_returned_unchanged_and_only_for_its_request() {
        let page = page();
        page.request(1, OURS);
        assert_eq!(page.response(1), None);
        let addresses = [0, 1, usize::MAX, 0x7fff_ffff_f123];
        respond(page.accept(OURS).expect("a request"), addresses);
        assert_eq!(page.response(1), Some(addresses.to_vec()));
        assert_eq!(page.response(2), None);
    }

    #[test]
    fn a_request_is_accepted_once_and_only_by_the_requested_process() {
        let page = page();
        assert!(page.accept(OURS).is_none() && page.accept(0).is_none());
        page.request(1, OURS);
        assert!(page.accept(THEIRS).is_none());
        assert!(page.accept(OURS).is_some());
        assert!(page.accept(OURS).is_none() && page.accept(0).is_none());
    }

    #[test]
    fn a_long_stack_is_truncated() {
        let page = page();
        page.request(1, OURS);
        respond(page.accept(OURS).expect("a request"), 0..1000);
        assert_eq!(page.response(1), Some((0..MAX_FRAMES).collect()));
    }

    #[test]
    fn a_late_response_is_never_mistaken_for_the_response_to_a_later_request() {
        let page = page();
        page.request(1, THEIRS);
        let mut late = page.accept(THEIRS).expect("a request");
        assert!(late.add(10).is_continue());
        page.request(2, OURS);
        assert!(late.add(11).is_break(), "the late writer sees the other request");
        let ours = page.accept(OURS).expect("a request");
        respond(ours, [20, 21]);
        assert_eq!(page.response(2), Some(vec![20, 21]));
        late.finish();
        assert_eq!(page.response(2), None, "the response is invalid, not replaced by the late one");
        assert_eq!(page.response(1), None, "the late response is incomplete");
    }

    #[test]
    fn a_word_written_late_for_an_earlier_request_invalidates_the_response() {
        let page = page();
        page.request(2, OURS);
        respond(page.accept(OURS).expect("a request"), [20, 21]);
        page.addresses[1][0].store(tagged(1, 0), Ordering::Relaxed);
        assert_eq!(page.response(2), None);
    }

    #[test]
    fn arbitrary_bytes_in_the_page_do_not_cause_a_panic() {
        for byte in 0..=u8::MAX {
            let page = BacktracePage::read_from_bytes(&[byte; size_of::<BacktracePage>()])
                .expect("a page");
            let number = u32::from_ne_bytes([byte; 4]);
            for number in [number, 0, 1, u32::MAX] {
                let addresses = page.response(number).unwrap_or_default();
                assert!(addresses.len() <= MAX_FRAMES);
            }
            let _ = page.accept(number).map(|writer| respond(writer, [1]));
        }
        let page = page();
        for length in [MAX_FRAMES as u32 + 1, u32::MAX] {
            page.response.store(tagged(1, length), Ordering::Relaxed);
            assert_eq!(page.response(1), None, "{length} addresses");
        }
    }
}
