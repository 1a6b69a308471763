//! The command line of a test program: words of the form `name=value`, and names without a value.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use actix_daemon::{
    Babysit, Capability, Daemon, DaemonBuilder, Descendants, Environment, InheritedDescriptors,
    MemoryMeasure, OnHup, PostFork, PreFork, Resource, Sandbox, Solo,
};

/// The options that the test has set.
#[derive(Debug, Clone)]
pub struct Options(Vec<(String, String)>);

impl Options {
    /// Reads the arguments of this process.
    #[must_use]
    pub fn read() -> Self {
        Options(
            std::env::args()
                .skip(1)
                .map(|word| match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), value.to_owned()),
                    None => (word, String::new()),
                })
                .collect(),
        )
    }

    /// Returns the value of an option, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    /// Returns whether an option is set.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the number that an option is set to.
    ///
    /// # Panics
    ///
    /// If the value is not a number.
    #[must_use]
    pub fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        self.get(name).map(|value| {
            value
                .parse()
                .unwrap_or_else(|_no_number| panic!("{name} takes a number, not {value:?}"))
        })
    }

    /// Returns the path of the parent's command socket.
    ///
    /// # Panics
    ///
    /// If the option is not set.
    #[must_use]
    pub fn command_socket(&self) -> PathBuf {
        PathBuf::from(self.get("command_socket").expect("the harness sets command_socket"))
    }

    /// Listens on 127.0.0.1 and prints `PORT=<n>`. The option `port` sets the port. By default any
    /// free port is used.
    ///
    /// # Errors
    ///
    /// If the port is in use.
    #[expect(clippy::print_stdout, reason = "the test reads it")]
    pub fn listen(&self) -> io::Result<TcpListener> {
        let port = self.number("port").unwrap_or(0);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        println!("PORT={}", listener.local_addr()?.port());
        io::stdout().flush()?;
        Ok(listener)
    }

    /// Returns the pre-forking model.
    #[must_use]
    pub fn pre_fork_model(&self) -> PreFork {
        let mut model = PreFork::new(self.number("start").unwrap_or(2));
        if let Some(children) = self.number("min") {
            model = model.min_spare(children);
        }
        if let Some(children) = self.number("max_spare") {
            model = model.max_spare(children);
        }
        if let Some(children) = self.number("max") {
            model = model.max_children(children);
        }
        if let Some(requests) = self.number("requests") {
            model = model.requests(requests);
        }
        if let Some(millis) = self.number("retire_delay") {
            model = model.retire_delay(Duration::from_millis(millis));
        }
        model
    }

    /// Returns the model that forks for each request.
    #[must_use]
    pub fn post_fork_model(&self) -> PostFork {
        let mut model = PostFork::new(self.number("max").unwrap_or(3));
        if let Some(requests) = self.number("backlog") {
            model = model.backlog(requests);
        }
        model
    }

    /// Returns a builder with all settings except the model.
    pub fn builder(&self) -> DaemonBuilder<Solo> {
        let mut daemon = Daemon::builder();
        if let Some(babysit) = self.babysit() {
            daemon = daemon.babysit(babysit);
        }
        if let Some(sandbox) = self.sandbox() {
            daemon = daemon.sandbox(sandbox);
        }
        for (name, value) in &self.0 {
            daemon = match name.as_str() {
                "no_new_privs" => daemon.no_new_privs(self.sure(name)),
                "keep_capabilities" => daemon.keep_capabilities(capabilities(value)),
                "core_dumps" => daemon.core_dumps(self.sure(name)),
                "ptrace" => daemon.ptrace(self.sure(name)),
                "environment" if value == "keep" => daemon.environment(Environment::Keep),
                "environment" => daemon.environment(Environment::only(value.split(','))),
                "descriptors" if value == "keep" => {
                    daemon.inherited_descriptors(InheritedDescriptors::Keep)
                }
                "descriptors" => daemon.inherited_descriptors(InheritedDescriptors::Only(
                    value.split(',').map(|fd| fd.parse().expect("a descriptor")).collect(),
                )),
                "alias" => daemon.alias(value),
                "detach" => daemon.detach(),
                "logfile" => daemon.logfile(value),
                "verbose" => daemon.verbose(),
                "user" => daemon.user(value),
                "group" => daemon.group(value),
                "grace" => daemon.grace(self.millis(name)),
                "descendants" => daemon.descendants(match value.as_str() {
                    "leave" => Descendants::Leave,
                    "end_with_child" => Descendants::EndWithChild,
                    _end_at_stop => Descendants::EndAtStop,
                }),
                "boot_timeout" => daemon.boot_timeout(self.millis(name)),
                "pidfile" => daemon.pidfile(value),
                "control" => daemon.control(value),
                "umask" => daemon.umask(u32::from_str_radix(value, 8).expect("umask is octal")),
                "workdir" => daemon.workdir(value),
                "open_files" => daemon.limit(Resource::OpenFiles, self.sure(name)),
                "core" => daemon.limit(Resource::Core, self.sure(name)),
                "nice" => daemon.nice(self.sure(name)),
                "oom_score_adj" => daemon.oom_score_adj(self.sure(name)),
                "title" => daemon.title(value),
                "board_file" => daemon.board_file(value),
                "request_limit" => daemon.request_limit(self.sure(name)),
                "reload_on_hup" => daemon.on_hup(OnHup::Reload),
                _ => daemon,
            };
        }
        daemon
    }

    /// Returns the sandbox of children, if the test sets one.
    fn sandbox(&self) -> Option<Sandbox> {
        self.get("sandbox")?;
        let mut sandbox = Sandbox::new();
        for (name, value) in &self.0 {
            sandbox = match name.as_str() {
                "may_read" => sandbox.read(value),
                "may_write" => sandbox.write(value),
                "may_append" => sandbox.append(value),
                "no_new_connections" => sandbox.no_new_connections(),
                "no_exec" => sandbox.no_exec(),
                "best_effort" => sandbox.best_effort(),
                _ => sandbox,
            };
        }
        Some(sandbox)
    }

    /// Returns the babysitter's settings, if the test sets them.
    fn babysit(&self) -> Option<Babysit> {
        let mut babysit = Babysit::new(self.number("babysit").map(Duration::from_millis)?);
        for (name, _) in &self.0 {
            babysit = match name.as_str() {
                "cpu" => babysit.cpu(self.millis(name)),
                "long_cpu" => babysit.long_cpu(self.millis(name)),
                "total_cpu" => babysit.total_cpu(self.millis(name)),
                "request_timeout" => babysit.request_timeout(self.millis(name)),
                "long_timeout" => babysit.long_timeout(self.millis(name)),
                "heartbeat_timeout" => babysit.heartbeat_timeout(self.millis(name)),
                "max_lifetime" => babysit.max_lifetime(self.millis(name)),
                "slowlog_after" => babysit.slowlog_after(self.millis(name)),
                "slowlog" => babysit.slowlog(self.get(name).unwrap_or_default()),
                "soft_memory" => babysit.soft_memory(self.sure::<u64>(name) << 20),
                "hard_memory" => babysit.hard_memory(self.sure::<u64>(name) << 20),
                "pss" => babysit.memory_measure(MemoryMeasure::Pss),
                _ => babysit,
            };
        }
        Some(babysit)
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.sure(name))
    }

    fn sure<N: FromStr>(&self, name: &str) -> N {
        self.number(name).expect("the option is set")
    }
}

/// Returns the capabilities with these names, separated by commas.
fn capabilities(names: &str) -> Vec<Capability> {
    let named = |name: &str| {
        let found = Capability::ALL.iter().find(|known| known.name() == name);
        *found.unwrap_or_else(|| panic!("{name} is no capability"))
    };
    names.split(',').filter(|name| !name.is_empty()).map(named).collect()
}
