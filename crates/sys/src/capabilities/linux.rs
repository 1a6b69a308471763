//! Keeps capabilities over a change of the user, and drops all others from every set.

use std::io;

use caps::{CapSet, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;

use super::{Availability, Capability};
use crate::error::{Error, Result};

/// The kernel stores a set of capabilities in 64 bits.
const NUMBERS: std::ops::Range<u8> = 0..64;

impl Capability {
    fn caps(self) -> Result<caps::Capability> {
        self.name().parse().map_err(|error| failed(format!("find {self}"), error))
    }
}

fn failed(action: impl Into<String>, error: caps::errors::CapsError) -> Error {
    Error::os(action, io::Error::other(error))
}

pub(super) fn availability(capability: Capability) -> Result<Availability> {
    let number = capability.caps()?.index();
    match bounding(number) {
        Err(Errno::EINVAL) => return Ok(Availability::Unknown),
        Err(error) => return Err(Error::os(format!("look up {capability}"), error)),
        Ok(_) => {}
    }
    let permitted = caps::has_cap(None, CapSet::Permitted, capability.caps()?)
        .map_err(|error| failed("read the capabilities of this process", error))?;
    Ok(if permitted { Availability::Available } else { Availability::Missing })
}

/// Whether the kernel has removed the other capabilities from the bounding set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BoundingSet {
    Reduced,
    /// This process is not permitted to change the set. It does not matter, because this process
    /// executes no program with more privileges.
    Unchanged,
}

/// The capabilities that a process keeps when it changes its user. Call
/// [`prepare`](KeptCapabilities::prepare) before the change and [`keep`](KeptCapabilities::keep)
/// afterwards.
#[derive(Debug)]
#[must_use = "nothing is kept or verified before `keep`"]
pub(crate) struct KeptCapabilities {
    keep: CapsHashSet,
    bounding: BoundingSet,
}

impl KeptCapabilities {
    /// Removes all other capabilities from the bounding set, and makes the kernel keep the
    /// permitted set when the user changes.
    ///
    /// # Errors
    ///
    /// If the bounding set cannot be changed, unless the process has set `no_new_privs`: then no
    /// program that it executes can gain anything from the bounding set.
    pub(crate) fn prepare(keep: &[Capability]) -> Result<KeptCapabilities> {
        let keep = keep.iter().map(|kept| kept.caps()).collect::<Result<CapsHashSet>>()?;
        let numbers: Vec<u8> = keep.iter().map(caps::Capability::index).collect();
        let mut reduced = BoundingSet::Reduced;
        for number in NUMBERS.filter(|number| !numbers.contains(number)) {
            match drop_from_bounding(number) {
                Ok(()) => {}
                // There are no capabilities with greater numbers.
                Err(Errno::EINVAL) => break,
                Err(Errno::EPERM) if prctl::get_no_new_privs() == Ok(true) => {
                    reduced = BoundingSet::Unchanged;
                    break;
                }
                Err(error) => {
                    return Err(Error::os("drop capabilities from the bounding set", error));
                }
            }
        }
        if !keep.is_empty() {
            prctl::set_keepcaps(true)
                .map_err(|error| Error::os("keep capabilities over the change of user", error))?;
        }
        Ok(KeptCapabilities { keep, bounding: reduced })
    }

    /// Sets the permitted and the effective set to the capabilities that are kept, and empties the
    /// inheritable and the ambient set. Verifies the result.
    ///
    /// # Errors
    ///
    /// If a set cannot be changed, or if the verification fails. The process must then exit.
    pub(crate) fn keep(self) -> Result<()> {
        let none = CapsHashSet::new();
        let wanted = [
            (CapSet::Ambient, &none),
            (CapSet::Inheritable, &none),
            (CapSet::Effective, &self.keep),
            (CapSet::Permitted, &self.keep),
        ];
        prctl::set_keepcaps(false)
            .map_err(|error| Error::os("stop keeping capabilities", error))?;
        // The effective set must be part of the permitted set at each step.
        for (set, keep) in [
            (CapSet::Ambient, &none),
            (CapSet::Inheritable, &none),
            (CapSet::Effective, &none),
            (CapSet::Permitted, &self.keep),
            (CapSet::Effective, &self.keep),
        ] {
            caps::set(None, set, keep)
                .map_err(|error| failed(format!("change the {set:?} capabilities"), error))?;
        }
        for (set, keep) in wanted {
            let found = caps::read(None, set)
                .map_err(|error| failed(format!("read the {set:?} capabilities"), error))?;
            if &found != keep {
                return not_dropped(format!("the {set:?} capabilities are {found:?}"));
            }
        }
        match self.bounding {
            BoundingSet::Unchanged => Ok(()),
            BoundingSet::Reduced => self.verify_bounding_set(),
        }
    }

    fn verify_bounding_set(&self) -> Result<()> {
        let kept: Vec<u8> = self.keep.iter().map(caps::Capability::index).collect();
        for number in NUMBERS {
            match bounding(number) {
                Ok(false) => {}
                Ok(true) if kept.contains(&number) => {}
                Ok(true) => {
                    return not_dropped(format!("capability {number} is in the bounding set"));
                }
                Err(_no_such_capability) => break,
            }
        }
        Ok(())
    }
}

fn not_dropped(reason: String) -> Result<()> {
    Err(Error::PrivilegesNotDropped { reason })
}

/// Returns whether the capability with this number is in the bounding set.
fn bounding(number: u8) -> nix::Result<bool> {
    // SAFETY: PR_CAPBSET_READ takes a number and no pointer.
    let found = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number)) };
    Errno::result(found).map(|found| found == 1)
}

fn drop_from_bounding(number: u8) -> nix::Result<()> {
    // SAFETY: PR_CAPBSET_DROP takes a number and no pointer.
    let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number)) };
    Errno::result(dropped).map(drop)
}
