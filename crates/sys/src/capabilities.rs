//! The capabilities of Linux, which divide root's privileges into parts (capabilities(7)).

use std::fmt;

use crate::error::Result;

#[cfg(not(target_os = "linux"))]
mod fallback;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
use fallback as platform;
#[cfg(target_os = "linux")]
use linux as platform;

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
