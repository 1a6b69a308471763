//! A daemon that is attacked, and the checks of what must be as before an attack.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use live_tests::Attack;
use serde_json::Value;

use super::{Model, Row};
use crate::harness::{ControlClient, DaemonProcess, Process, Signal, until};

/// The bound within which a daemon must have recovered from an attack, on a busy machine.
const BOUND: Duration = Duration::from_secs(10);

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(4);

/// How much the resident memory of the parent or the fork server may grow by all attacks.
const GROWTH: u64 = 8 << 20;
/// How much memory the parent may need in addition for a moment.
const PEAK: u64 = 32 << 20;
/// The time after the grace period within which a daemon ends.
const AFTER_GRACE: Duration = Duration::from_secs(5);
/// The grace period of all targets.
const GRACE: Duration = Duration::from_secs(2);
/// The longest time that a dispatcher's client waits for the answer to an attack: more than the
/// hard limit, after which the dispatcher answers.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How long a client waits for the end of an attack, in addition to three times its window.
const ATTACK_PATIENCE: Duration = Duration::from_millis(400);
/// The longest time that a client waits for an answer before it tries again.
const PATIENCE: Duration = Duration::from_secs(2);

/// The result of an attack.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The daemon is as before.
    Survived,
    /// The child could not attack.
    NotPossible(String),
    /// The daemon is not as before.
    Harmed(String),
}

/// A daemon under attack.
#[derive(Debug)]
pub(super) struct Target {
    row: Row,
    daemon: DaemonProcess,
    parent: Process,
    /// The process that forks the children.
    forks: Process,
    before: BTreeMap<Process, Resources>,
}

/// The answer to an attack.
#[derive(Debug)]
pub(super) struct Attacked {
    /// The answer of the attacker, or why there was none.
    pub(super) answer: String,
    /// The process that attacked, unless it is unknown because a dispatcher has ended it.
    pub(super) attacker: Option<Process>,
}

/// What a process uses.
#[derive(Debug, Clone, Copy)]
struct Resources {
    resident: u64,
    peak: u64,
    descriptors: usize,
}

impl Resources {
    fn of(process: Process) -> Option<Resources> {
        Some(Resources {
            resident: process.memory("VmRSS")?,
            peak: process.memory("VmHWM")?,
            descriptors: process.descriptors().len(),
        })
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) fn connect(port: u16, patience: Duration) -> Result<Client, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match connect() {
            Ok(stream) => Ok(Client(BufReader::new(stream))),
            Err(error) => {
                let error: std::io::Error = error;
                Err(format!("cannot connect: {error}"))
            }
        }
    }

    fn wait_for(&self, patience: Duration) {
        self.0.get_ref().set_read_timeout(Some(patience)).expect("a socket takes a timeout");
    }

    /// Sends a line, and returns the answer.
    pub(super) fn ask(&mut self, line: &str) -> Result<String, String> {
        let stream = self.0.get_mut();
        stream.write_all(format!("{line}\n").as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        match self.0.read_line(&mut answer) {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_bytes) => Ok(answer.trim_end().to_owned()),
            Err(error) => Err(format!("no answer: {error}")),
        }
    }

    /// Returns the process that answers.
    pub(super) fn pid(&mut self) -> Result<Process, String> {
        let answer = self.ask("pid")?;
        answer.parse().map(Process).map_err(|_text| format!("an answer without a pid: {answer}"))
    }
}

impl Target {
    pub(super) fn start(row: Row) -> Target {
        let daemon = (row.program)().options(row.options).launch();
        let parent = daemon.parent();
        let forks = match row.model {
            Model::Daemon | Model::Dispatcher => daemon.fork_server(),
            Model::Manager => parent,
        };
        let mut target = Target { row, daemon, parent, forks, before: BTreeMap::new() };
        until("the daemon serves", || {
            let running = target.check_status().is_ok() && target.check_population().is_ok();
            running.then_some(())
        });
        // Every lazy allocation happens before the memory is measured.
        for _request in 0..20 {
            until("the daemon serves", || target.client().ok()?.pid().ok());
        }
        until("the daemon is idle", || target.check_population().ok());
        let processes = [target.parent, target.forks];
        target.before =
            processes.map(|process| (process, Resources::of(process).expect("it runs"))).into();
        target
    }

    pub(super) fn port(&self) -> u16 {
        self.daemon.port()
    }

    fn client(&self) -> Result<Client, String> {
        Client::connect(self.port(), PATIENCE)
    }

    pub(super) fn children(&self) -> BTreeSet<Process> {
        let mut children = self.forks.children();
        children.retain(|child| *child != self.parent && !self.is_adopted(*child));
        children.into_iter().collect()
    }

    /// Returns whether the fork server has adopted the process: it runs another program, or is in
    /// the group of the child that has started it. A child leads its group, or is still in the
    /// group of the fork server.
    fn is_adopted(&self, process: Process) -> bool {
        let is_other = |group| group != process.0 && group != self.forks.0;
        match self.row.model {
            Model::Daemon | Model::Dispatcher => {
                process.program() != self.forks.program() || process.group().is_some_and(is_other)
            }
            Model::Manager => false,
        }
    }

    fn has_control(&self) -> bool {
        self.row.model != Model::Manager
    }

    fn report(&self) -> Result<Value, String> {
        let mut control = ControlClient::try_at(&self.daemon.dir().join("control"))
            .map_err(|error| format!("no control socket: {error}"))?;
        control
            .send("{\"version\":1,\"command\":\"status\"}\n")
            .and_then(|()| control.read_within(PATIENCE))
            .map(|mut answer| answer["ok"]["report"].take())
            .map_err(|error| format!("no status: {error}"))
    }

    /// Has one child carry out an attack, and checks that the daemon is as before.
    pub(super) fn attack(&mut self, attack: &Attack, seed: u64, millis: u64) -> Outcome {
        match self.try_attack(attack, seed, millis) {
            Ok(outcome) => outcome,
            Err(harm) => Outcome::Harmed(harm),
        }
    }

    fn try_attack(&mut self, attack: &Attack, seed: u64, millis: u64) -> Result<Outcome, String> {
        let (mut bystander, served_by) = self.connect_to_child()?;
        let generations = self.generations()?;
        let before = self.children();
        let Attacked { answer, attacker } = self.send_attack(attack, seed, millis)?;
        if let Some(reason) = answer.strip_prefix("not possible: ") {
            return Ok(Outcome::NotPossible(reason.to_owned()));
        }
        self.check_serves("while the attacker lives")?;
        // A manager forwards HUP to its workers, which ends them.
        let ends_workers = self.row.model == Model::Manager && attack.name == "hangups_to_parent";
        if !attack.is_on_siblings() && !ends_workers {
            let pid = bystander.pid().map_err(|reason| format!("a bystander: {reason}"))?;
            if self.row.model != Model::Dispatcher && pid != served_by {
                return Err(format!("a bystander is served by {}, was {}", pid.0, served_by.0));
            }
        }
        drop(bystander);
        self.end_attack(attacker.into_iter().collect());
        self.check_birth(&before)?;
        self.recover(&generations)?;
        Ok(Outcome::Survived)
    }

    /// Has a child attack.
    pub(super) fn send_attack(
        &self,
        attack: &Attack,
        seed: u64,
        millis: u64,
    ) -> Result<Attacked, String> {
        let line = format!("attack {} {seed} {millis}", attack.name);
        let (mut client, first) = self.connect_to_child()?;
        client.wait_for(match self.row.model {
            Model::Dispatcher => ANSWERED_WITHIN,
            Model::Daemon | Model::Manager => ATTACK_PATIENCE + Duration::from_millis(3 * millis),
        });
        match client.ask(&line) {
            Ok(answer) => {
                let pid = answer.rsplit_once(" by ").and_then(|(_done, pid)| pid.parse().ok());
                Ok(Attacked { attacker: pid.map(Process), answer })
            }
            Err(answer) => match self.row.model {
                // The dispatcher answers every request, whatever its worker does.
                Model::Dispatcher => Err(format!("the request that attacks: {answer}")),
                Model::Daemon | Model::Manager => Ok(Attacked { attacker: Some(first), answer }),
            },
        }
    }

    /// Connects to a child, and returns its pid.
    fn connect_to_child(&self) -> Result<(Client, Process), String> {
        within_bound("a child serves before the attack", || {
            let mut client = self.client()?;
            let pid = client.pid()?;
            Ok((client, pid))
        })
    }

    /// Ends what an operator would end: the attackers, and the processes that they have left
    /// behind.
    pub(super) fn end_attack(&self, attackers: BTreeSet<Process>) {
        for attacker in attackers {
            attacker.signal(Signal::SIGKILL);
        }
        self.end_left_behind();
    }

    /// Ends processes that children have started and left behind, as a child's program must.
    pub(super) fn end_left_behind(&self) {
        for process in self.daemon.processes() {
            let is_daemon = process == self.parent || process == self.forks;
            if !is_daemon && !self.children().contains(&process) {
                process.signal(Signal::SIGKILL);
            }
        }
    }

    /// Ends children that an attacker has stopped. A stop can take effect late.
    fn end_stopped(&self) {
        for child in self.children() {
            if matches!(child.state(), Some('T' | 't')) {
                child.signal(Signal::SIGKILL);
            }
        }
    }

    /// Checks that the daemon recovers completely.
    pub(super) fn recover(&self, generations: &BTreeMap<Process, u64>) -> Result<(), String> {
        let next = Cell::new(Instant::now());
        within_bound("the number of children", || {
            self.end_stopped();
            self.check_population().inspect_err(|_wrong| {
                // Not all the time, because a pool grows while all its children serve.
                if Instant::now() >= next.get() {
                    self.let_each_child_serve();
                    next.set(Instant::now() + BOUND / 4);
                }
            })
        })?;
        if self.has_control() {
            within_bound("the status", || self.check_status())?;
            self.check_generations(generations)?;
        }
        within_bound("the resources", || self.check_resources())
    }

    /// Checks that clients are served, by whichever child.
    pub(super) fn check_serves(&self, when: &str) -> Result<(), String> {
        within_bound(&format!("a client is served {when}"), || {
            // All children can be stopped, also those that have just been forked.
            self.end_stopped();
            self.client()?.pid().map(drop)
        })
    }

    /// Checks that the clients that send requests are served again.
    pub(super) fn check_progress(&self, progress: impl Fn() -> bool) -> Result<(), String> {
        within_bound("the clients are served", || {
            self.end_stopped();
            if progress() { Ok(()) } else { Err("no request was served".to_owned()) }
        })
    }

    /// Checks that a child serves clients that is not one of these.
    pub(super) fn check_birth(&self, old: &BTreeSet<Process>) -> Result<(), String> {
        // Connections that stay open keep the other children busy.
        let mut open = Vec::new();
        within_bound("a new child serves", || {
            self.end_stopped();
            let mut client = self.client()?;
            let pid = client.pid()?;
            if !old.contains(&pid) {
                return Ok(());
            }
            open.push(client);
            if open.len() >= self.row.children {
                open.clear();
            }
            Err(format!("only children serve that served before, such as {}", pid.0))
        })
    }

    /// Sends a request to each child, as clients do in the life of a daemon. A plausible lie about
    /// a child, for example that it is busy, is believed until the child reports something itself.
    fn let_each_child_serve(&self) {
        let mut others = self.children();
        // Connections that stay open keep the children busy that have served.
        let mut open = Vec::new();
        // A child that is not reached in this time fails the other checks.
        let deadline = Instant::now() + BOUND / 4;
        while !others.is_empty() && Instant::now() < deadline {
            if let Ok(mut client) = self.client()
                && let Ok(pid) = client.pid()
            {
                others.remove(&pid);
                open.push(client);
            }
            let children = self.children();
            others.retain(|child| children.contains(child));
            if open.len() >= children.len() {
                open.clear();
            }
        }
    }

    fn check_population(&self) -> Result<(), String> {
        let children = self.children().len();
        if children == self.row.children {
            return Ok(());
        }
        Err(format!("{children} children, expected {}", self.row.children))
    }

    fn check_status(&self) -> Result<(), String> {
        if !self.has_control() {
            return Ok(());
        }
        let report = self.report()?;
        let expect = |field: &str, expected: Value| {
            if report[field] == expected {
                return Ok(());
            }
            Err(format!("{field} is {}, expected {expected}", report[field]))
        };
        expect("phase", "running".into())?;
        expect("parent", self.parent.0.into())?;
        expect("fork_server", self.forks.0.into())?;
        expect("accepting", "accepting".into())?;
        expect("operator_pause", "off".into())?;
        let reported: BTreeSet<Process> = pids(&report).collect();
        let existing = self.children();
        if reported != existing {
            return Err(format!("status shows {reported:?}, /proc shows {existing:?}"));
        }
        let children = report["children"].as_array().map_or(0, Vec::len);
        if children != existing.len() {
            return Err(format!("status shows {children} children of {}", existing.len()));
        }
        let letters = report["board"].as_str().unwrap_or_default();
        let shown = letters.chars().filter(|letter| *letter != ' ').count();
        if shown != existing.len() {
            return Err(format!("the board [{letters}] shows {shown} of {}", existing.len()));
        }
        let requests = report["counters"]["requests"].as_u64().unwrap_or(u64::MAX);
        if requests > 1 << 40 {
            return Err(format!("{requests} requests are counted"));
        }
        let up = report["up"].as_f64().unwrap_or(f64::MAX);
        if up <= 0.0 || up > 24.0 * 3600.0 {
            return Err(format!("the daemon is up for {up} s"));
        }
        Ok(())
    }

    /// Returns the generation of each child.
    pub(super) fn generations(&self) -> Result<BTreeMap<Process, u64>, String> {
        if !self.has_control() {
            return Ok(BTreeMap::new());
        }
        let report = within_bound("a status", || self.report())?;
        let children = report["children"].as_array().cloned().unwrap_or_default();
        Ok(children
            .iter()
            .filter_map(|child| {
                let pid = u32::try_from(child["pid"].as_u64()?).ok()?;
                Some((Process(pid), child["generation"].as_u64()?))
            })
            .collect())
    }

    /// Checks that the generation of a child that still runs is the same as before.
    fn check_generations(&self, before: &BTreeMap<Process, u64>) -> Result<(), String> {
        let now = self.generations()?;
        for (child, generation) in before {
            if let Some(now) = now.get(child)
                && now != generation
            {
                return Err(format!("generation of {}: {now}, was {generation}", child.0));
            }
        }
        Ok(())
    }

    fn check_resources(&self) -> Result<(), String> {
        for (process, before) in &self.before {
            let role = if *process == self.parent { "parent" } else { "fork server" };
            let now = Resources::of(*process).ok_or_else(|| format!("the {role} has ended"))?;
            if now.descriptors > before.descriptors {
                let (now, before) = (now.descriptors, before.descriptors);
                return Err(format!("{now} descriptors of the {role}, {before} before"));
            }
            let limits = [
                ("resident memory", now.resident, before.resident + GROWTH),
                ("peak memory", now.peak, before.peak + PEAK),
            ];
            for (what, now, limit) in limits {
                if now > limit {
                    let (now, limit) = (now >> 10, limit >> 10);
                    return Err(format!("{what} of the {role}: {now} KiB, limit {limit} KiB"));
                }
            }
        }
        Ok(())
    }

    /// Stops the daemon with TERM. All processes must end within the grace period, the parent with
    /// code 0.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let ended = self.stop();
        self.kill();
        ended
    }

    /// Stops the daemon with TERM, as [`finish`](Target::finish) does.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        if !self.parent.is_alive() {
            return Err(format!("the parent has ended: {:?}", self.daemon.launcher_status()));
        }
        self.parent.signal(Signal::SIGTERM);
        if !self.daemon.exits_within(GRACE + AFTER_GRACE) {
            let left: Vec<_> =
                self.daemon.processes().iter().map(|left| (left.0, left.title())).collect();
            return Err(format!("processes are left {AFTER_GRACE:?} after the grace: {left:?}"));
        }
        match self.daemon.launcher_status().as_deref() {
            Some("code 0") => Ok(()),
            other => Err(format!("the parent ended with {other:?}")),
        }
    }

    /// Returns the processes of the daemon and the end of its log.
    pub(super) fn description(&self) -> String {
        let mut text = String::new();
        for process in self.daemon.processes() {
            text.push_str(&format!("{} {:?} {}\n", process.0, process.state(), process.title()));
        }
        if self.has_control() {
            let status = self.report().map_or_else(|reason| reason, |report| report.to_string());
            text.push_str(&status);
            text.push('\n');
        }
        let log = self.daemon.log();
        let lines: Vec<&str> = log.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(20)) {
            text.push_str(&line.chars().take(300).collect::<String>());
            text.push('\n');
        }
        text
    }

    /// Kills all processes.
    pub(super) fn kill(&mut self) {
        self.daemon.kill();
    }
}

fn pids(report: &Value) -> impl Iterator<Item = Process> {
    let children = report["children"].as_array().cloned().unwrap_or_default();
    children.into_iter().filter_map(|child| {
        let pid = child["pid"].as_u64()?;
        u32::try_from(pid).ok().map(Process)
    })
}

/// Waits until `look` returns `Ok`, and returns its value. A condition that does not become true is
/// a result and not a panic, so that the test can report it and go on with the next attack.
///
/// # Errors
///
/// The last error of `look`, if it returns no value within [`BOUND`].
fn within_bound<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + BOUND;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() > deadline => {
                return Err(format!("{what}: not within {BOUND:?}: {reason}"));
            }
            Err(_not_yet) => park_timeout(POLL_INTERVAL),
        }
    }
}
