//! What can only be told from two looks: requests a second, and processor time in percent.

use std::collections::{BTreeMap, VecDeque};

use daemon_core::MonotonicTime;

use crate::picture::{Picture, Who};

/// So many looks back the history goes: ten minutes at one a second.
const HISTORY: usize = 600;

/// Differences of pictures.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    last: Option<Look>,
    cpu: BTreeMap<Who, f64>,
    per_second: VecDeque<f64>,
}

#[derive(Debug)]
struct Look {
    at: MonotonicTime,
    picture: Picture,
}

impl Rates {
    /// Takes in a picture.
    pub(crate) fn on_picture(&mut self, picture: &Picture, now: MonotonicTime) {
        let look = Look { at: now, picture: picture.clone() };
        let Some(last) = self.last.replace(look) else { return };
        let seconds = now.saturating_since(last.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        self.cpu = percentages(&last.picture, picture, seconds);
        if let Some(begun) = begun(&last.picture, picture) {
            if self.per_second.len() == HISTORY {
                self.per_second.pop_front();
            }
            self.per_second.push_back(begun as f64 / seconds);
        }
    }

    /// Requests a second, between the last two looks.
    pub(crate) fn per_second(&self) -> Option<f64> {
        self.per_second.back().copied()
    }

    /// The same of so many looks, at most, the last one last.
    pub(crate) fn history(&self, looks: usize) -> impl Iterator<Item = f64> {
        let skipped = self.per_second.len().saturating_sub(looks);
        self.per_second.iter().skip(skipped).copied()
    }

    /// Processor time of a child between the last two looks, in percent of one processor.
    pub(crate) fn cpu(&self, who: Who) -> Option<f64> {
        self.cpu.get(&who).copied()
    }
}

fn percentages(last: &Picture, picture: &Picture, seconds: f64) -> BTreeMap<Who, f64> {
    let before: BTreeMap<Who, _> =
        last.children.iter().map(|child| (child.who(), child.cpu)).collect();
    let of_one = |child: &crate::picture::Child| {
        let used = child.cpu?.saturating_sub((*before.get(&child.who())?)?);
        Some((child.who(), used.as_secs_f64() / seconds * 100.0))
    };
    picture.children.iter().filter_map(of_one).collect()
}

/// Requests begun between two pictures. The daemon counts those of children that are gone, so that
/// the difference of its sums is exact; a scoreboard shows only those that are there.
///
/// `None` if the two cannot be compared: another daemon, or one told and the other read.
fn begun(last: &Picture, picture: &Picture) -> Option<u64> {
    if last.parent != picture.parent || picture.up < last.up {
        return None;
    }
    match (&last.counters, &picture.counters) {
        (Some(_), Some(_)) => Some(picture.requests().saturating_sub(last.requests())),
        (None, None) => {
            let before: BTreeMap<Who, u64> =
                last.children.iter().map(|child| (child.who(), child.requests)).collect();
            let begun = picture.children.iter().map(|child| {
                child.requests.saturating_sub(before.get(&child.who()).copied().unwrap_or(0))
            });
            Some(begun.fold(0, u64::saturating_add))
        }
        (Some(_), None) | (None, Some(_)) => None,
    }
}
