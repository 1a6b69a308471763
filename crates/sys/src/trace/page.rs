//! The page that questions and answers are written to.
//!
//! Every word bears the number of its question in its upper half. A child that is stopped over its
//! answer, and goes on when another has long been asked, can spoil the other's answer but not be
//! taken for it: a word of another number is seen for what it is.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromBytes;

/// The most addresses of an answer; what called them is left out.
pub const FRAMES: usize = 64;

/// The page, all zero before the first question.
#[repr(C)]
#[derive(Debug, FromBytes)]
pub(super) struct Page {
    /// Number and pid of who is asked; pid 0 once it has taken the question up.
    asked: AtomicU64,
    /// Number, and how many addresses the answer has. Written last.
    answered: AtomicU64,
    /// An address each, in two words: number and upper half, number and lower half.
    addresses: [[AtomicU64; 2]; FRAMES],
}

impl Page {
    pub(super) fn ask(&self, number: u32, pid: u32) {
        self.asked.store(tagged(number, pid), Ordering::Release);
    }

    /// Takes up the question, if it is for this process. One thread does, however many are
    /// interrupted.
    pub(super) fn take_up(&self, pid: u32) -> Option<Writer<'_>> {
        let asked = self.asked.load(Ordering::Acquire);
        let (number, whom) = parts(asked);
        let taken = tagged(number, 0);
        let claim =
            || self.asked.compare_exchange(asked, taken, Ordering::AcqRel, Ordering::Relaxed);
        (whom == pid && pid != 0 && claim().is_ok()).then_some(Writer {
            page: self,
            number,
            length: 0,
        })
    }

    /// Reads the answer to the question of this number, if all of it is there.
    pub(super) fn answer_to(&self, number: u32) -> Option<Vec<usize>> {
        let length = half(&self.answered, number, Ordering::Acquire)?;
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

/// An answer that is being written, from within a signal handler.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    page: &'a Page,
    number: u32,
    length: u32,
}

impl Writer<'_> {
    /// Adds an address, unless there are enough of them or something else has been asked.
    pub(super) fn add(&mut self, address: usize) -> ControlFlow<()> {
        let asked = self.page.asked.load(Ordering::Relaxed);
        let place = self.page.addresses.get(self.length as usize);
        let (Some([upper, lower]), true) = (place, asked == tagged(self.number, 0)) else {
            return ControlFlow::Break(());
        };
        let address = address as u64;
        upper.store(tagged(self.number, (address >> 32) as u32), Ordering::Relaxed);
        lower.store(tagged(self.number, address as u32), Ordering::Relaxed);
        self.length += 1;
        ControlFlow::Continue(())
    }

    /// Makes the answer valid.
    pub(super) fn finish(self) {
        self.page.answered.store(tagged(self.number, self.length), Ordering::Release);
    }
}

fn tagged(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// Reads a word's lower half, if its upper half is this number.
fn half(word: &AtomicU64, number: u32, order: Ordering) -> Option<u32> {
    let (its, half) = parts(word.load(order));
    (its == number).then_some(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u32 = 4711;
    const THEIRS: u32 = 4712;

    fn page() -> Page {
        Page::read_from_bytes(&[0; size_of::<Page>()]).expect("as long as a page")
    }

    fn answer(mut writer: Writer<'_>, addresses: impl IntoIterator<Item = usize>) {
        let _ = addresses.into_iter().try_for_each(|address| writer.add(address));
        writer.finish();
    }

    #[test]
    fn an_answer_comes_out_as_it_went_in_and_only_for_its_question() {
        let page = page();
        page.ask(1, OURS);
        assert_eq!(page.answer_to(1), None);
        let addresses = [0, 1, usize::MAX, 0x7fff_ffff_f123];
        answer(page.take_up(OURS).expect("it is asked"), addresses);
        assert_eq!(page.answer_to(1), Some(addresses.to_vec()));
        assert_eq!(page.answer_to(2), None);
    }

    #[test]
    fn a_question_is_taken_up_once_and_by_who_is_asked() {
        let page = page();
        assert!(page.take_up(OURS).is_none() && page.take_up(0).is_none());
        page.ask(1, OURS);
        assert!(page.take_up(THEIRS).is_none());
        assert!(page.take_up(OURS).is_some());
        assert!(page.take_up(OURS).is_none() && page.take_up(0).is_none());
    }

    #[test]
    fn a_long_stack_is_cut() {
        let page = page();
        page.ask(1, OURS);
        answer(page.take_up(OURS).expect("it is asked"), 0..1000);
        assert_eq!(page.answer_to(1), Some((0..FRAMES).collect()));
    }

    #[test]
    fn a_late_answer_is_never_taken_for_another_s() {
        let page = page();
        page.ask(1, THEIRS);
        let mut late = page.take_up(THEIRS).expect("it is asked");
        assert!(late.add(10).is_continue());
        page.ask(2, OURS);
        assert!(late.add(11).is_break(), "it sees that something else was asked");
        let ours = page.take_up(OURS).expect("it is asked");
        answer(ours, [20, 21]);
        assert_eq!(page.answer_to(2), Some(vec![20, 21]));
        late.finish();
        assert_eq!(page.answer_to(2), None, "its answer is gone, not another's");
        assert_eq!(page.answer_to(1), None, "and the late one is not whole");
    }

    #[test]
    fn a_single_word_of_a_late_writer_spoils_the_answer() {
        let page = page();
        page.ask(2, OURS);
        answer(page.take_up(OURS).expect("it is asked"), [20, 21]);
        page.addresses[1][0].store(tagged(1, 0), Ordering::Relaxed);
        assert_eq!(page.answer_to(2), None);
    }

    #[test]
    fn any_bytes_can_be_read() {
        for byte in 0..=u8::MAX {
            let page = Page::read_from_bytes(&[byte; size_of::<Page>()]).expect("a page");
            let number = u32::from_ne_bytes([byte; 4]);
            for number in [number, 0, 1, u32::MAX] {
                let addresses = page.answer_to(number).unwrap_or_default();
                assert!(addresses.len() <= FRAMES);
            }
            let _ = page.take_up(number).map(|writer| answer(writer, [1]));
        }
        let page = page();
        for length in [FRAMES as u32 + 1, u32::MAX] {
            page.answered.store(tagged(1, length), Ordering::Relaxed);
            assert_eq!(page.answer_to(1), None, "{length} addresses");
        }
    }
}
