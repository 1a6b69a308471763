//! Numbers of processes, and how the parent and the fork server identify a child.

use std::fmt;
use std::num::NonZeroI32;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

use crate::line::{Generation, SlotNumber};

/// A process id. It is always positive, so that kill(2) cannot take it for "all processes" or "my
/// process group".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// Creates a pid from a number; returns `None` if the number is not positive.
    #[must_use]
    pub fn from_raw(number: i32) -> Option<Pid> {
        if number > 0 { NonZeroI32::new(number).map(Pid) } else { None }
    }

    /// Creates a pid from an unsigned number, for example that of a scoreboard slot; returns `None`
    /// if the number is 0 or too large for a pid.
    #[must_use]
    pub fn from_u32(number: u32) -> Option<Pid> {
        Pid::from_raw(i32::try_from(number).ok()?)
    }

    /// Returns the number.
    #[must_use]
    pub fn as_raw(self) -> i32 {
        self.0.get()
    }

    /// Returns the number as an unsigned one.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        self.0.get().unsigned_abs()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Pid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pid, D::Error> {
        let number = i32::deserialize(deserializer)?;
        Pid::from_raw(number).ok_or_else(|| {
            D::Error::invalid_value(Unexpected::Signed(number.into()), &"a positive number")
        })
    }
}

/// Identifies a child by its slot and the slot's generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChildId {
    /// The child's scoreboard slot.
    pub slot: SlotNumber,
    /// The slot's generation, which counts the children that have used the slot.
    #[serde(default)]
    pub generation: Generation,
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "child {}", self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_positive() {
        assert_eq!(Pid::from_raw(0), None);
        assert_eq!(Pid::from_raw(-1), None);
        assert_eq!(Pid::from_raw(7).map(Pid::as_raw), Some(7));
        assert_eq!(Pid::from_u32(0), None);
        assert_eq!(Pid::from_u32(u32::MAX), None);
        assert_eq!(Pid::from_u32(7).map(Pid::as_u32), Some(7));
        assert_eq!(size_of::<Option<Pid>>(), 4);
    }

    #[test]
    fn a_pid_is_serialized_as_its_number_and_no_other_number_is_accepted() {
        use serde::de::IntoDeserializer;
        use serde::de::value::Error;
        let decode = |number: i32| {
            let deserializer: serde::de::value::I32Deserializer<Error> = number.into_deserializer();
            Pid::deserialize(deserializer)
        };
        assert_eq!(decode(7).ok(), Pid::from_raw(7));
        for number in [0, -1, i32::MIN] {
            assert!(decode(number).is_err(), "{number}");
        }
    }
}
