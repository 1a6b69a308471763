//! The capabilities of Linux, which divide root's privileges into parts (capabilities(7)).

use std::fmt;

use crate::error::Result;

macro_rules! capabilities {
    ($($variant:ident $name:literal $meaning:literal;)+) => {
        /// A capability of a process: one of the parts into which Linux divides root's privileges.
        /// capabilities(7) explains each of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Capability {
            $(#[doc = concat!("`", $name, "`: ", $meaning, ".")] $variant,)+
        }

        impl Capability {
            /// Every capability of this enum.
            pub const ALL: &'static [Capability] = &[$(Capability::$variant,)+];

            /// Returns the name in capabilities(7), for example `CAP_NET_BIND_SERVICE`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Capability::$variant => $name,)+ }
            }
        }
    };
}

capabilities! {
    AuditControl "CAP_AUDIT_CONTROL" "configure the kernel's auditing";
    AuditRead "CAP_AUDIT_READ" "read the audit log";
    AuditWrite "CAP_AUDIT_WRITE" "write to the audit log";
    BlockSuspend "CAP_BLOCK_SUSPEND" "prevent the system from suspending";
    Bpf "CAP_BPF" "load BPF programs";
    CheckpointRestore "CAP_CHECKPOINT_RESTORE" "checkpoint and restore processes";
    Chown "CAP_CHOWN" "change the owner of any file";
    DacOverride "CAP_DAC_OVERRIDE" "read, write and execute files regardless of their modes";
    DacReadSearch "CAP_DAC_READ_SEARCH" "read files and search directories regardless of their modes";
    Fowner "CAP_FOWNER" "act as the owner of any file";
    Fsetid "CAP_FSETID" "keep the set-id bits of changed files";
    IpcLock "CAP_IPC_LOCK" "lock memory";
    IpcOwner "CAP_IPC_OWNER" "use System V IPC objects regardless of their modes";
    Kill "CAP_KILL" "signal any process";
    Lease "CAP_LEASE" "take leases of any file";
    LinuxImmutable "CAP_LINUX_IMMUTABLE" "make files append-only or immutable";
    MacAdmin "CAP_MAC_ADMIN" "configure the Smack security module";
    MacOverride "CAP_MAC_OVERRIDE" "override the Smack security module";
    Mknod "CAP_MKNOD" "create device files";
    NetAdmin "CAP_NET_ADMIN" "configure the network";
    NetBindService "CAP_NET_BIND_SERVICE" "bind ports below 1024";
    NetBroadcast "CAP_NET_BROADCAST" "send broadcasts, not used by the kernel";
    NetRaw "CAP_NET_RAW" "use raw and packet sockets";
    Perfmon "CAP_PERFMON" "monitor the performance of the system";
    Setfcap "CAP_SETFCAP" "give capabilities to files";
    Setgid "CAP_SETGID" "change to any group";
    Setpcap "CAP_SETPCAP" "change the bounding set";
    Setuid "CAP_SETUID" "change to any user";
    SysAdmin "CAP_SYS_ADMIN" "administer the system; almost as much as root";
    SysBoot "CAP_SYS_BOOT" "reboot";
    SysChroot "CAP_SYS_CHROOT" "change the root directory";
    SysModule "CAP_SYS_MODULE" "load kernel modules";
    SysNice "CAP_SYS_NICE" "raise priorities and set the scheduling of any process";
    SysPacct "CAP_SYS_PACCT" "switch process accounting on and off";
    SysPtrace "CAP_SYS_PTRACE" "trace any process";
    SysRawio "CAP_SYS_RAWIO" "access I/O ports and kernel memory";
    SysResource "CAP_SYS_RESOURCE" "exceed resource limits and raise them";
    SysTime "CAP_SYS_TIME" "set the clock";
    SysTtyConfig "CAP_SYS_TTY_CONFIG" "configure terminals";
    Syslog "CAP_SYSLOG" "read and clear the kernel's log";
    WakeAlarm "CAP_WAKE_ALARM" "set timers that wake the system";
}

impl Capability {
    /// Returns whether a process that keeps this capability can become root again.
    #[must_use]
    pub fn restores_root(self) -> bool {
        matches!(self, Capability::Setuid | Capability::Setgid)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether this process can keep a capability when it changes its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// This process has the capability.
    Available,
    /// This process does not have the capability.
    Missing,
    /// The kernel does not know the capability.
    Unknown,
    /// The operating system has no capabilities.
    Unsupported,
}

/// Returns whether this process can keep the capability.
///
/// # Errors
///
/// If the capabilities of this process cannot be read.
pub fn availability(capability: Capability) -> Result<Availability> {
    platform::availability(capability)
}

/// The capabilities of a process that has changed its user.
pub(crate) use platform::KeptCapabilities;

/// Systems without capabilities.
#[cfg(not(target_os = "linux"))]
mod platform {
    use super::{Availability, Capability};
    use crate::error::{Error, Result};

    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
    pub(super) fn availability(_: Capability) -> Result<Availability> {
        Ok(Availability::Unsupported)
    }

    /// The capabilities that a process keeps when it changes its user: none.
    #[derive(Debug)]
    pub(crate) struct KeptCapabilities;

    impl KeptCapabilities {
        pub(crate) fn prepare(keep: &[Capability]) -> Result<KeptCapabilities> {
            match keep {
                [] => Ok(KeptCapabilities),
                [first, ..] => Err(Error::Unsupported { action: format!("keep {first}") }),
            }
        }

        #[expect(clippy::unused_self, reason = "the same signature as on Linux")]
        #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Linux")]
        pub(crate) fn keep(self) -> Result<()> {
            Ok(())
        }
    }
}

/// Keeps capabilities over a change of the user, and drops all others from every set.
#[cfg(target_os = "linux")]
mod platform {
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

    /// The capabilities that a process keeps when it changes its user. Call
    /// [`prepare`](KeptCapabilities::prepare) before the change and
    /// [`keep`](KeptCapabilities::keep) afterwards.
    #[derive(Debug)]
    #[must_use = "nothing is kept or verified before `keep`"]
    pub(crate) struct KeptCapabilities {
        keep: CapsHashSet,
        /// Whether the other capabilities have been removed from the bounding set. If this process
        /// is not permitted to change the set, it executes no program with more privileges.
        is_bounding_set_reduced: bool,
    }

    impl KeptCapabilities {
        /// Removes all other capabilities from the bounding set, and makes the kernel keep the
        /// permitted set when the user changes.
        ///
        /// # Errors
        ///
        /// If the bounding set cannot be changed, unless the process has set `no_new_privs`: then
        /// no program that it executes can gain anything from the bounding set.
        pub(crate) fn prepare(keep: &[Capability]) -> Result<KeptCapabilities> {
            let keep = keep.iter().map(|kept| kept.caps()).collect::<Result<CapsHashSet>>()?;
            let numbers: Vec<u8> = keep.iter().map(caps::Capability::index).collect();
            let mut is_bounding_set_reduced = true;
            for number in NUMBERS.filter(|number| !numbers.contains(number)) {
                match drop_from_bounding(number) {
                    Ok(()) => {}
                    // There are no capabilities with greater numbers.
                    Err(Errno::EINVAL) => break,
                    Err(Errno::EPERM) if prctl::get_no_new_privs() == Ok(true) => {
                        is_bounding_set_reduced = false;
                        break;
                    }
                    Err(error) => {
                        return Err(Error::os("drop capabilities from the bounding set", error));
                    }
                }
            }
            if !keep.is_empty() {
                prctl::set_keepcaps(true).map_err(|error| {
                    Error::os("keep capabilities over the change of user", error)
                })?;
            }
            Ok(KeptCapabilities { keep, is_bounding_set_reduced })
        }

        /// Sets the permitted and the effective set to the capabilities that are kept, and empties
        /// the inheritable and the ambient set. Verifies the result.
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
            if self.is_bounding_set_reduced { self.verify_bounding_set() } else { Ok(()) }
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
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_capability_has_its_own_name() {
        let names: BTreeSet<&str> = Capability::ALL.iter().map(|known| known.name()).collect();
        assert_eq!((names.len(), Capability::ALL.len()), (41, 41));
        assert!(names.iter().all(|name| name.starts_with("CAP_")));
        assert_eq!(Capability::NetBindService.to_string(), "CAP_NET_BIND_SERVICE");
    }
}
