use super::*;
use crate::state::CallbackSet;
use crate::state_machine::{StateMachine, Timing};

const NOW: Duration = Duration::from_micros(123);

fn status(state: ServiceState, is_reloading: bool) -> ServiceStatus {
    let timing =
        Timing { poll_interval: Duration::from_secs(1), wait_hint: Duration::from_secs(30) };
    let status = StateMachine::new(timing, CallbackSet::NONE).status();
    ServiceStatus { state, is_reloading, wait_hint: Duration::from_secs(3), ..status }
}

#[test]
fn each_state_is_reported_with_its_own_lines() {
    let reload = "RELOADING=1\nMONOTONIC_USEC=123\n";
    let table = [
        (ServiceState::NotReady, false, "STATUS=not ready\n".to_owned()),
        (
            ServiceState::StartPending,
            false,
            "EXTEND_TIMEOUT_USEC=3000000\nSTATUS=starting\n".to_owned(),
        ),
        (ServiceState::Running, false, "READY=1\nSTATUS=running\n".to_owned()),
        (ServiceState::Running, true, format!("{reload}STATUS=running\n")),
        (ServiceState::PausePending, false, "STATUS=pausing\n".to_owned()),
        (ServiceState::Paused, false, "STATUS=paused\n".to_owned()),
        (ServiceState::Paused, true, format!("{reload}STATUS=paused\n")),
        (ServiceState::ContinuePending, false, "STATUS=continuing\n".to_owned()),
        (
            ServiceState::StopPending,
            false,
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n".to_owned(),
        ),
        (ServiceState::Stopped, false, "STATUS=stopped\n".to_owned()),
    ];
    for (state, is_reloading, expected) in table {
        assert_eq!(notification(None, &status(state, is_reloading), "", NOW), expected);
    }
}

#[test]
fn the_end_of_a_reload_is_reported_with_ready_unless_the_service_stops() {
    let table = [
        (ServiceState::Running, "READY=1\nSTATUS=running\n"),
        (ServiceState::PausePending, "READY=1\nSTATUS=pausing\n"),
        (ServiceState::Paused, "READY=1\nSTATUS=paused\n"),
        (ServiceState::ContinuePending, "READY=1\nSTATUS=continuing\n"),
        (ServiceState::StopPending, "STOPPING=1\nEXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n"),
    ];
    for (state, expected) in table {
        let before = status(ServiceState::Running, true);
        let lines = notification(Some(&before), &status(state, false), "", NOW);
        assert_eq!(lines, expected);
    }
}

#[test]
fn ready_and_stopping_are_sent_once() {
    let lines = |before, after| {
        let before = status(before, false);
        notification(Some(&before), &status(after, false), "", NOW)
    };
    assert_eq!(lines(ServiceState::ContinuePending, ServiceState::Running), "STATUS=running\n");
    assert_eq!(
        lines(ServiceState::StartPending, ServiceState::Running),
        "READY=1\nSTATUS=running\n"
    );
    let again = "EXTEND_TIMEOUT_USEC=3000000\nSTATUS=stopping\n";
    assert_eq!(lines(ServiceState::StopPending, ServiceState::StopPending), again);
}

#[test]
fn a_status_text_stays_on_one_line() {
    let lines = status_line(ServiceState::Running, "2 children\nREADY=1");
    assert_eq!(lines, "STATUS=running: 2 children READY=1\n");
}

#[test]
fn a_watchdog_timeout_applies_only_to_the_process_in_watchdog_pid() {
    let timeout = |usec, pid| watchdog_timeout(usec, pid, 7).unwrap();
    assert_eq!(timeout(None, None), None);
    assert_eq!(timeout(Some("2000000"), None), Some(Duration::from_secs(2)));
    assert_eq!(timeout(Some("2000000"), Some("7")), Some(Duration::from_secs(2)));
    assert_eq!(timeout(Some("2000000"), Some("8")), None);
}

#[test]
fn an_invalid_watchdog_variable_is_named_in_the_error() {
    let invalid = |usec, pid| match watchdog_timeout(Some(usec), pid, 7).unwrap_err() {
        ServiceError::Environment { variable, value, .. } => (variable, value),
        other => panic!("{other}"),
    };
    assert_eq!(invalid("0", None), ("WATCHDOG_USEC", "0".to_owned()));
    assert_eq!(invalid("soon", None), ("WATCHDOG_USEC", "soon".to_owned()));
    assert_eq!(invalid("5", Some("me")), ("WATCHDOG_PID", "me".to_owned()));
}

#[test]
fn a_wait_hint_of_any_length_fits_into_the_number_of_systemd() {
    let mut status = status(ServiceState::StopPending, false);
    status.wait_hint = Duration::MAX;
    let lines = notification(None, &status, "", NOW);
    assert!(lines.contains(&format!("EXTEND_TIMEOUT_USEC={}\n", u64::MAX)), "{lines}");
}

fn names(pid: Option<&str>, count: Option<&str>, names: Option<&str>) -> Option<Vec<String>> {
    fd_names(pid, count, names, 7).ok()
}

#[test]
fn only_the_process_in_listen_pid_takes_the_descriptors() {
    assert_eq!(names(None, None, None), Some(vec![]));
    assert_eq!(names(Some("8"), Some("2"), None), Some(vec![]));
    let unknown = || Some(vec!["unknown".to_owned(); 2]);
    assert_eq!(names(Some("7"), Some("2"), None), unknown());
    assert_eq!(names(Some("7"), Some("2"), Some("")), unknown());
    let named = Some(vec!["http".to_owned(), "unknown".to_owned()]);
    assert_eq!(names(Some("7"), Some("2"), Some("http")), named);
}

#[test]
fn invalid_variables_are_errors() {
    for (pid, count, given) in
        [("me", "1", None), ("7", "many", None), ("7", "-1", None), ("7", "5000", None)]
    {
        assert_eq!(names(Some(pid), Some(count), given), None, "{pid} {count}");
    }
    assert_eq!(names(Some("7"), Some("1"), Some("a:b")), None);
}

#[test]
fn names_that_systemd_rejects_are_refused() {
    assert!(check_name("http").is_ok());
    for invalid in ["", "a:b", "a\nb", "ä", &"a".repeat(256)] {
        assert!(check_name(invalid).is_err(), "{invalid:?}");
    }
}

fn received(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).expect("a notification arrives");
    String::from_utf8(bytes[..length].to_vec()).expect("valid UTF-8")
}

#[test]
fn a_notification_is_sent_to_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    NotifySocket::open(path.as_os_str()).unwrap().send("READY=1\n", &[]).unwrap();
    assert_eq!(received(&manager), "READY=1\n");
}

#[test]
fn an_invalid_address_is_an_error() {
    for address in ["notify", "vsock:1:2"] {
        let error = NotifySocket::open(OsStr::new(address)).unwrap_err().to_string();
        assert!(error.starts_with("invalid environment variable NOTIFY_SOCKET="), "{error}");
    }
    assert!(NotifySocket::open(OsStr::new(&format!("/{}", "a".repeat(200)))).is_err());
}

#[test]
fn a_notification_to_a_missing_socket_is_an_error() {
    let socket = NotifySocket::open(OsStr::new("/nowhere/at/all")).unwrap();
    assert!(socket.send("READY=1\n", &[]).is_err());
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::io::IoSliceMut;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    #[test]
    fn a_notification_is_sent_to_an_abstract_address() {
        let name = format!("daemon-service-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let address = OsString::from(format!("@{name}"));
        NotifySocket::open(&address).unwrap().send("STOPPING=1\n", &[]).unwrap();
        assert_eq!(received(&manager), "STOPPING=1\n");
    }

    #[test]
    fn a_descriptor_is_sent_with_a_notification() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let (kept, other) = UnixDatagram::pair().unwrap();
        let socket = NotifySocket::open(path.as_os_str()).unwrap();
        let fd = kept.try_clone().unwrap().into();
        socket.store(&StoreFd { name: "pair".to_owned(), fd }).unwrap();
        let mut bytes = [0; 64];
        let mut room = nix::cmsg_space!([RawFd; 1]);
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg::<()>(
            manager.as_raw_fd(),
            &mut buffers,
            Some(&mut room),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .unwrap();
        let descriptors: Vec<RawFd> = received
            .cmsgs()
            .unwrap()
            .flat_map(|message| match message {
                ControlMessageOwned::ScmRights(descriptors) => descriptors,
                _ => Vec::new(),
            })
            .collect();
        let [descriptor] = descriptors[..] else { panic!("not one descriptor: {descriptors:?}") };
        // In /proc, both descriptors must be links to the same socket.
        let link = |fd: RawFd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(link(descriptor), link(kept.as_raw_fd()));
        drop(OwnedFd::from(other));
    }
}
