//! The command line, and the requests to the service control manager (SCM).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon_service::ServiceState;
use daemon_winsys::{control, eventlog};
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType,
    ServiceState as ScmState, ServiceType, UserEventCode,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

pub(super) const USAGE: &str = "\
service install [--name NAME] [--port PORT] [--step MS] [--log FILE]
                [--account USER] [--password WORD] [--start auto|demand|disabled]
service uninstall|start|stop|pause|continue|query|interrogate|paramchange [--name NAME]
service control CODE [--name NAME]
service console [--port PORT] [--step MS] [--log FILE]";

/// How long the service may take to reach a requested state.
const STATE_TIMEOUT: Duration = Duration::from_secs(60);

/// The interval at which the state of the service is polled.
const QUERY_INTERVAL: Duration = Duration::from_millis(50);

const CONTROL_INTERROGATE: u32 = 4;
const CONTROL_PARAMCHANGE: u32 = 6;

type CommandResult = Result<(), Box<dyn std::error::Error>>;

/// The options of the server.
#[derive(Debug, Clone)]
pub(super) struct ServeOptions {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) step: Duration,
    pub(super) log: PathBuf,
}

/// The parsed command line.
pub(super) enum CommandLine {
    /// Serve as a service, because the SCM has started this process.
    Run(ServeOptions),
    /// Serve in a console.
    Console(ServeOptions),
    /// Send a request about the service with this name to the SCM.
    Manage(ScmRequest, String),
}

/// A request to the SCM.
pub(super) enum ScmRequest {
    Install {
        options: ServeOptions,
        account: Option<OsString>,
        password: Option<OsString>,
        start: ServiceStartType,
    },
    Uninstall,
    Start,
    Stop,
    Pause,
    Continue,
    Query,
    Send(u32),
}

impl ScmRequest {
    /// Returns the request in words, with the name of the service.
    fn describe(&self, name: &str) -> String {
        match self {
            ScmRequest::Install { account: Some(account), .. } => {
                format!("install {name} as {}", account.display())
            }
            ScmRequest::Install { account: None, .. } => format!("install {name}"),
            ScmRequest::Uninstall => format!("uninstall {name}"),
            ScmRequest::Start => format!("start {name}"),
            ScmRequest::Stop => format!("stop {name}"),
            ScmRequest::Pause => format!("pause {name}"),
            ScmRequest::Continue => format!("continue {name}"),
            ScmRequest::Query => format!("query {name}"),
            ScmRequest::Send(code) => format!("send control {code} to {name}"),
        }
    }
}

/// The error of a request that failed. Its source says why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
struct RequestError {
    action: String,
    source: Box<dyn std::error::Error>,
}

/// Parses the command line.
///
/// # Errors
///
/// A message about the invalid argument.
pub(super) fn parse(arguments: impl Iterator<Item = String>) -> Result<CommandLine, String> {
    let mut arguments = arguments;
    let word = arguments.next().ok_or("a command is required")?;
    let code = match word.as_str() {
        "control" => {
            let code = arguments.next().ok_or("control needs a code")?;
            code.parse().map_err(|_not_a_number| format!("invalid control code {code:?}"))?
        }
        _other => 0,
    };
    let beside = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut options = ServeOptions {
        name: "service".to_owned(),
        port: 0,
        step: Duration::ZERO,
        log: beside.with_file_name("service.log"),
    };
    let (mut account, mut password, mut start) = (None, None, ServiceStartType::OnDemand);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("option {option} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_not_a_number| format!("{option} needs a number, not {value:?}"))
        };
        match option.as_str() {
            "--name" => options.name = value,
            "--port" => {
                options.port = u16::try_from(number()?).map_err(|error| error.to_string())?;
            }
            "--step" => options.step = Duration::from_millis(number()?),
            "--log" => options.log = PathBuf::from(value),
            "--account" => account = Some(OsString::from(value)),
            "--password" => password = Some(OsString::from(value)),
            "--start" => {
                start = match value.as_str() {
                    "auto" => ServiceStartType::AutoStart,
                    "demand" => ServiceStartType::OnDemand,
                    "disabled" => ServiceStartType::Disabled,
                    other => {
                        return Err(format!(
                            "--start must be auto, demand or disabled, not {other:?}"
                        ));
                    }
                }
            }
            other => return Err(format!("unknown option {other}")),
        }
    }
    if password.is_some() && account.is_none() {
        return Err("--password needs --account".to_owned());
    }
    let name = options.name.clone();
    let request = match word.as_str() {
        "run" => return Ok(CommandLine::Run(options)),
        "console" => return Ok(CommandLine::Console(options)),
        "install" => ScmRequest::Install { options, account, password, start },
        "uninstall" => ScmRequest::Uninstall,
        "start" => ScmRequest::Start,
        "stop" => ScmRequest::Stop,
        "pause" => ScmRequest::Pause,
        "continue" => ScmRequest::Continue,
        "query" => ScmRequest::Query,
        "interrogate" => ScmRequest::Send(CONTROL_INTERROGATE),
        "paramchange" => ScmRequest::Send(CONTROL_PARAMCHANGE),
        "control" => ScmRequest::Send(code),
        other => return Err(format!("unknown command {other}")),
    };
    Ok(CommandLine::Manage(request, name))
}

/// Carries out a request.
///
/// # Errors
///
/// An error that names the failed request, the service and the account, if one was given. Its
/// source says why the request failed.
pub(super) fn manage(request: ScmRequest, name: &str) -> CommandResult {
    let action = request.describe(name);
    carry_out(request, name).map_err(|source| RequestError { action, source }.into())
}

fn carry_out(request: ScmRequest, name: &str) -> CommandResult {
    match request {
        ScmRequest::Install { options, account, password, start } => {
            install(&options, account, password, start)
        }
        ScmRequest::Uninstall => {
            open_service(name, ServiceAccess::DELETE)?.delete()?;
            eventlog::unregister_source(name)?;
            print(&format!("{name} is uninstalled"))
        }
        ScmRequest::Start => {
            let service = open_service(name, ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
            service.start::<&str>(&[])?;
            wait_for(&service, ServiceState::Running)
        }
        ScmRequest::Stop => {
            let service = open_service(name, ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
            service.stop()?;
            wait_for(&service, ServiceState::Stopped)
        }
        ScmRequest::Pause => {
            let service =
                open_service(name, ServiceAccess::PAUSE_CONTINUE | ServiceAccess::QUERY_STATUS)?;
            service.pause()?;
            wait_for(&service, ServiceState::Paused)
        }
        ScmRequest::Continue => {
            let service =
                open_service(name, ServiceAccess::PAUSE_CONTINUE | ServiceAccess::QUERY_STATUS)?;
            service.resume()?;
            wait_for(&service, ServiceState::Running)
        }
        ScmRequest::Query => query(&open_service(name, ServiceAccess::QUERY_STATUS)?),
        ScmRequest::Send(code) => {
            let access = ServiceAccess::INTERROGATE
                | ServiceAccess::PAUSE_CONTINUE
                | ServiceAccess::QUERY_STATUS
                | ServiceAccess::USER_DEFINED_CONTROL;
            let service = open_service(name, access)?;
            // Only checks that the returned state is valid: `query` below queries the state again
            // and prints it.
            let _state = match UserEventCode::from_raw(code) {
                Ok(user) => state_of(service.notify(user)?.current_state),
                Err(_system) => {
                    let code = u8::try_from(control(&service, code)?)?;
                    ServiceState::from_code(code)
                        .ok_or("the service manager returned an unknown state")?
                }
            };
            query(&service)
        }
    }
}

fn open_service(name: &str, access: ServiceAccess) -> Result<Service, windows_service::Error> {
    ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)?
        .open_service(name, access)
}

fn install(
    options: &ServeOptions,
    account: Option<OsString>,
    password: Option<OsString>,
    start: ServiceStartType,
) -> CommandResult {
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&str>, access)?;
    let step = options.step.as_millis().to_string();
    let arguments = [
        "run".into(),
        "--name".into(),
        OsString::from(&options.name),
        "--port".into(),
        options.port.to_string().into(),
        "--step".into(),
        step.into(),
        "--log".into(),
        options.log.clone().into(),
    ];
    let info = ServiceInfo {
        name: OsString::from(&options.name),
        display_name: OsString::from(format!("Echo ({})", options.name)),
        service_type: ServiceType::OWN_PROCESS,
        start_type: start,
        error_control: ServiceErrorControl::Normal,
        executable_path: std::env::current_exe()?,
        launch_arguments: arguments.to_vec(),
        dependencies: Vec::new(),
        account_name: account,
        account_password: password,
    };
    let service = manager.create_service(&info, ServiceAccess::ALL_ACCESS)?;
    if let Err(error) = configure(&service, &options.name) {
        // A partly configured service must not stay installed.
        service.delete()?;
        return Err(error);
    }
    print(&format!("{} is installed", options.name))
}

fn configure(service: &Service, name: &str) -> CommandResult {
    service.set_description("An echo server, an example program of daemon-service")?;
    let restart_after = |delay| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: Duration::from_secs(delay),
    };
    service.update_failure_actions(ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(24 * 3600)),
        reboot_msg: None,
        command: None,
        actions: Some(vec![restart_after(1), restart_after(5), restart_after(60)]),
    })?;
    if let Err(error) = service.set_failure_actions_on_non_crash_failures(true) {
        print(&format!(
            "cannot enable restarts after a stop with an error code: {error}; only crashes restart the service"
        ))?;
    }
    service.set_preshutdown_timeout(Duration::from_secs(30))?;
    eventlog::register_source(name)?;
    Ok(())
}

fn state(service: &Service) -> Result<ServiceState, windows_service::Error> {
    Ok(state_of(service.query_status()?.current_state))
}

fn state_of(state: ScmState) -> ServiceState {
    match state {
        ScmState::Stopped => ServiceState::Stopped,
        ScmState::StartPending => ServiceState::StartPending,
        ScmState::StopPending => ServiceState::StopPending,
        ScmState::Running => ServiceState::Running,
        ScmState::ContinuePending => ServiceState::ContinuePending,
        ScmState::PausePending => ServiceState::PausePending,
        ScmState::Paused => ServiceState::Paused,
    }
}

fn wait_for(service: &Service, target: ServiceState) -> CommandResult {
    let deadline = Instant::now() + STATE_TIMEOUT;
    loop {
        let status = service.query_status()?;
        let state = state(service)?;
        if state == target {
            return query(service);
        }
        if state == ServiceState::Stopped {
            return Err(format!("the service has stopped: {:?}", status.exit_code).into());
        }
        if Instant::now() > deadline {
            return Err(format!("timeout: the service is still {}", state.word()).into());
        }
        std::thread::park_timeout(QUERY_INTERVAL);
    }
}

fn query(service: &Service) -> CommandResult {
    let status = service.query_status()?;
    print(&format!(
        "{} checkpoint={} wait_hint={}ms exit_code={:?} accepts={:?} pid={}",
        state(service)?.word(),
        status.checkpoint,
        status.wait_hint.as_millis(),
        status.exit_code,
        status.controls_accepted,
        status.process_id.unwrap_or(0),
    ))
}

#[expect(clippy::print_stdout, reason = "the output of the command")]
fn print(text: &str) -> CommandResult {
    println!("{text}");
    Ok(())
}
