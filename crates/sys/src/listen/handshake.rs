//! The handshakes of a TCP listener: refusing new ones, and finding out whether some are in
//! progress.

pub(super) use platform::{are_in_progress, are_refused, refuse};

#[cfg(target_os = "linux")]
mod platform {
    use std::os::fd::{AsRawFd, BorrowedFd};

    use libc::{
        BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, sock_filter,
    };
    use nix::errno::Errno;
    use nix::sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage,
        getsockname, recv, send, socket,
    };

    /// Where the flags are in a TCP header (RFC 9293, section 3.1), and two of them.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;

    /// A program for packets (socket(7), `SO_ATTACH_FILTER`). It drops the first packet of a
    /// handshake, which has the flag SYN and not ACK, and keeps all others.
    const DROP_FIRST_PACKETS: [sock_filter; 5] = [
        instruction(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT, 0),
        instruction(BPF_ALU | BPF_AND | BPF_K, SYN | ACK, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, SYN, 1),
        instruction(BPF_RET | BPF_K, 0, 0),
        instruction(BPF_RET | BPF_K, u32::MAX, 0),
    ];

    /// Returns an instruction with this constant. A jump skips this many instructions if its
    /// condition is false.
    const fn instruction(code: u32, constant: u32, skip_if_false: u8) -> sock_filter {
        sock_filter { code: code as u16, jt: 0, jf: skip_if_false, k: constant }
    }

    /// Drops the first packet of each further handshake, so that the client tries again later.
    /// Handshakes in progress continue.
    pub(in super::super) fn refuse(listener: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut instructions = DROP_FIRST_PACKETS;
        let length = instructions.len() as u16;
        let program = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
        let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
        let size = size_of_val(&program) as libc::socklen_t;
        // SAFETY: the option takes a program, whose pointer is to this number of valid
        // instructions; setsockopt only reads them.
        let result = unsafe {
            libc::setsockopt(listener.as_raw_fd(), level, name, (&raw const program).cast(), size)
        };
        Errno::result(result).map(drop)
    }

    /// Returns whether further handshakes are refused.
    pub(in super::super) fn are_refused(listener: BorrowedFd<'_>) -> bool {
        let mut found = [instruction(0, 0, 0); DROP_FIRST_PACKETS.len()];
        // The length of the program in instructions. A longer program is refused.
        let mut length = found.len() as libc::socklen_t;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_GET_FILTER);
        let target = found.as_mut_ptr().cast();
        // SAFETY: `target` has space for this number of instructions, and getsockopt writes no
        // more.
        let done =
            unsafe { libc::getsockopt(listener.as_raw_fd(), level, name, target, &raw mut length) };
        let is_whole = done == 0 && length as usize == found.len();
        is_whole
            && found.iter().zip(DROP_FIRST_PACKETS).all(|(found, own)| {
                (found.code, found.jt, found.jf, found.k) == (own.code, own.jt, own.jf, own.k)
            })
    }

    /// Returns whether a client is in the middle of its handshake. `false` if this cannot be found
    /// out, for example because sockets of netlink are forbidden.
    pub(in super::super) fn are_in_progress(listener: BorrowedFd<'_>) -> bool {
        let Ok(address) = getsockname::<SockaddrStorage>(listener.as_raw_fd()) else {
            return false;
        };
        let port = address
            .as_sockaddr_in()
            .map(|address| address.port())
            .or_else(|| address.as_sockaddr_in6().map(|address| address.port()));
        let families = match address.family() {
            Some(AddressFamily::Inet) => &[libc::AF_INET][..],
            // A listener of IPv6 can have clients of IPv4.
            Some(AddressFamily::Inet6) => &[libc::AF_INET, libc::AF_INET6],
            Some(_) | None => &[],
        };
        port.is_some_and(|port| {
            families.iter().any(|family| has_half_open(*family as u8, port).unwrap_or(false))
        })
    }

    // Of linux/sock_diag.h, linux/netlink.h, and the TCP states of net/tcp_states.h.
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 0x1;
    const NLM_F_DUMP: u16 = 0x300;
    const TCP_SYN_RECV: u32 = 3;
    const IPPROTO_TCP: u8 = 6;

    /// The length of a header of netlink (netlink(7)), and of `inet_diag_req_v2` (sock_diag(7)).
    const HEADER: usize = 16;
    const REQUEST: usize = 56;
    /// Where the type is in a header of netlink.
    const TYPE_AT: std::ops::Range<usize> = 4..6;

    /// Asks the kernel for connections of this local port in the state SYN_RECV (sock_diag(7)).
    fn has_half_open(family: u8, port: u16) -> Result<bool, Errno> {
        let mut request = Vec::with_capacity(HEADER + REQUEST);
        request.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
        request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        // The sequence number, and the port of netlink that the kernel has.
        request.extend([0; 8]);
        request.extend([family, IPPROTO_TCP, 0, 0]);
        request.extend((1_u32 << TCP_SYN_RECV).to_ne_bytes());
        request.extend(port.to_be_bytes());
        request.resize(HEADER + REQUEST, 0);
        let kernel = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkSockDiag,
        )?;
        send(kernel.as_raw_fd(), &request, MsgFlags::empty())?;
        // The kernel has put the first part of its answer into the socket. The rest of a message
        // that is longer than the buffer is lost.
        let mut answer = [0; HEADER];
        let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        // Any other type is the end of the list, or an error.
        Ok(length == HEADER && answer[TYPE_AT] == SOCK_DIAG_BY_FAMILY.to_ne_bytes())
    }
}

/// Other systems do not drop packets of a listener.
#[cfg(not(target_os = "linux"))]
mod platform {
    use std::os::fd::BorrowedFd;

    use nix::errno::Errno;

    pub(in super::super) fn refuse(_listener: BorrowedFd<'_>) -> Result<(), Errno> {
        Err(Errno::ENOPROTOOPT)
    }

    pub(in super::super) fn are_refused(_listener: BorrowedFd<'_>) -> bool {
        false
    }

    pub(in super::super) fn are_in_progress(_listener: BorrowedFd<'_>) -> bool {
        false
    }
}
