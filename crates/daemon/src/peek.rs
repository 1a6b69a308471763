//! The part of the output of the message `Peek` that the parent and the children share:
//! descriptors, threads and tasks.

use std::collections::BTreeMap;

use daemon_protocol::Report;

use crate::messages::Detail;

/// Joins the lines. A verbose peek adds descriptors, threads, tasks and the status report.
pub(crate) fn with_details(mut lines: Vec<String>, detail: Detail, report: &Report) -> String {
    match detail {
        Detail::Brief => {}
        Detail::Verbose => {
            lines.push(descriptors());
            lines.push(threads());
            lines.push(tasks());
            lines.extend(report.to_string().lines().map(str::to_owned));
        }
    }
    lines.join("\n")
}

/// Returns `yes` or `no`.
pub(crate) fn yes_or_no(condition: bool) -> &'static str {
    if condition { "yes" } else { "no" }
}

/// Returns a line with the sessions that have not yet answered `DaemonShutdown`, if there are any.
pub(crate) fn unanswered(unanswered: &[String]) -> Option<String> {
    (!unanswered.is_empty())
        .then(|| format!("Waiting for answers to DaemonShutdown: {}", unanswered.join(", ")))
}

/// Returns a line with the number of tasks on the runtime. Actors are not counted, because they run
/// on the thread's local task set and tokio does not provide the length of that set.
fn tasks() -> String {
    match tokio::runtime::Handle::try_current() {
        Err(error) => format!("Tasks: {error}"),
        Ok(runtime) => {
            let tasks = runtime.metrics().num_alive_tasks();
            format!("Tasks: {tasks} on the runtime, not counting actors")
        }
    }
}

fn descriptors() -> String {
    match daemon_sys::fds::open_fds() {
        Err(error) => format!("Descriptors: {error}"),
        Ok(open) => {
            let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
            for (_fd, target) in &open {
                *kinds.entry(kind(target).to_owned()).or_default() += 1;
            }
            let kinds: Vec<String> =
                kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            format!("Descriptors: {} ({})", open.len(), kinds.join(", "))
        }
    }
}

/// Returns the kind of a descriptor with this target: `socket` for `socket:[1234]`, `eventpoll` for
/// `anon_inode:[eventpoll]`, `file` for `/dev/null`.
fn kind(target: &str) -> &str {
    if let Some(inside) = target.strip_prefix("anon_inode:") {
        return inside.trim_matches(['[', ']']);
    }
    match target.split_once(':') {
        Some((kind, _number)) if !kind.starts_with('/') => kind,
        Some(_) | None => "file",
    }
}

fn threads() -> String {
    match daemon_sys::fork::other_threads() {
        Err(error) => format!("Threads: {error}"),
        Ok(None) => "Threads: 1".to_owned(),
        Ok(Some(other_threads)) => {
            let names: Vec<&str> =
                other_threads.threads.iter().map(|thread| thread.name.as_str()).collect();
            format!("Threads: {} more ({})", names.len(), names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn the_kind_of_a_descriptor_follows_from_its_target() {
        assert_eq!(kind("socket:[123]"), "socket");
        assert_eq!(kind("anon_inode:[eventpoll]"), "eventpoll");
        assert_eq!(kind("/dev/null"), "file");
        assert_eq!(kind("/odd:name"), "file");
    }
}
