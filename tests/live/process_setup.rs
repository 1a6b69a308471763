//! Tests the settings that apply to all processes of a daemon and that `/proc` shows.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::harness::{TestProgram, nobody, until};

#[test]
fn umask_workdir_and_limits_apply_in_every_process() {
    let options = "start=2 umask=027 workdir=/usr open_files=321 core=0 nice=5 oom_score_adj=345";
    let daemon = TestProgram::pool().options(options).start();
    for process in daemon.processes_with_children() {
        assert_eq!(process.status("Umask"), ["0027"]);
        assert_eq!(process.workdir().unwrap().to_str(), Some("/usr"));
        assert_eq!(process.limit("Max open files").as_deref(), Some("321"));
        assert_eq!(process.limit("Max core file size").as_deref(), Some("0"));
        assert_eq!(process.nice(), Some(5));
        assert_eq!(process.oom_score_adj(), Some(345));
    }
    let file = daemon.dir().join("made");
    assert_eq!(daemon.client().ask(&format!("make {}", file.display())), "ok");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn titles_show_name_role_slot_status_and_label() {
    let daemon = TestProgram::pool().options("start=1 min=1 max=2 title=teller").start();
    assert_eq!(daemon.parent().title(), "teller: parent");
    assert_eq!(daemon.fork_server().title(), "teller: fork server");
    let child = daemon.children()[0];
    until("the child is fresh", || (child.title() == "teller: child 0 [.]").then_some(()));
    let mut client = daemon.client();
    let serving = client.pid();
    assert_eq!(serving, child);
    assert_eq!(serving.title(), "teller: child 0 [r]");
    assert_eq!(client.ask("label a name"), "ok");
    assert_eq!(serving.title(), "teller: child 0 [r] a name");
    assert_eq!(client.ask("long"), "ok");
    assert_eq!(serving.title(), "teller: child 0 [l] a name");
    assert_eq!(client.ask("done"), "ok");
    until("the child waits again", || serving.title().contains("child 0 [w]").then_some(()));
}

#[test]
fn privileges_are_dropped_permanently_in_every_process() {
    let Some((uid, gid)) = nobody() else { return };
    let start = TestProgram::pool().writable_by_all().logged().options("start=2 user=nobody");
    let daemon = start.start();
    // The log file belongs to the user `nobody`, who can therefore reopen it.
    assert_eq!(fs::metadata(daemon.logfile()).unwrap().uid(), uid);
    let (uid, gid) = (uid.to_string(), gid.to_string());
    for process in daemon.processes_with_children() {
        assert_eq!(process.status("Uid"), vec![uid.clone(); 4], "{}", process.title());
        assert_eq!(process.status("Gid"), vec![gid.clone(); 4], "{}", process.title());
        let groups = process.status("Groups");
        assert!(groups.iter().all(|group| *group == gid), "{groups:?}");
        assert_eq!(process.status("CapEff"), ["0000000000000000"]);
    }
    assert_eq!(daemon.client().ask("root"), "Err(EPERM)");
}
