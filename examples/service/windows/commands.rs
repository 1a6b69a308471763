//! The commands: what is typed, and what the service manager is asked for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon_service::Stage;
use daemon_winsys::{control, eventlog};
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState,
    ServiceType, UserEventCode,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

pub(super) const USAGE: &str = "\
service install [--name NAME] [--port PORT] [--step MS] [--log FILE]
                [--account USER] [--password WORD] [--start auto|demand|disabled]
service uninstall|start|stop|pause|continue|query|interrogate|paramchange [--name NAME]
service control CODE [--name NAME]
service console [--port PORT] [--step MS] [--log FILE]";

/// How long a state that was asked for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the manager is asked for it: it has no event for programs that wait.
const LOOK: Duration = Duration::from_millis(50);

const CONTROL_INTERROGATE: u32 = 4;
const CONTROL_PARAMCHANGE: u32 = 6;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Where and how it serves.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) step: Duration,
    pub(super) log: PathBuf,
}

/// What was asked for.
pub(super) enum Command {
    /// The service manager has started us.
    Run(Place),
    Console(Place),
    Manage(Deed, String),
}

/// What the service manager is asked for.
pub(super) enum Deed {
    Install {
        place: Place,
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

impl Deed {
    /// In words, with what it is done to.
    fn act(&self, name: &str) -> String {
        match self {
            Deed::Install { account: Some(account), .. } => {
                format!("install {name} as {}", account.display())
            }
            Deed::Install { account: None, .. } => format!("install {name}"),
            Deed::Uninstall => format!("uninstall {name}"),
            Deed::Start => format!("start {name}"),
            Deed::Stop => format!("stop {name}"),
            Deed::Pause => format!("pause {name}"),
            Deed::Continue => format!("continue {name}"),
            Deed::Query => format!("query {name}"),
            Deed::Send(code) => format!("send {name} control {code}"),
        }
    }
}

/// What could not be done, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act}")]
struct Undone {
    act: String,
    source: Box<dyn std::error::Error>,
}

/// Reads the command line.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments;
    let word = arguments.next().ok_or("what shall it do?")?;
    let code = match word.as_str() {
        "control" => {
            let code = arguments.next().ok_or("which control?")?;
            code.parse().map_err(|_no_number| format!("{code:?} is no control"))?
        }
        _other => 0,
    };
    let beside = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut place = Place {
        name: "service".to_owned(),
        port: 0,
        step: Duration::ZERO,
        log: beside.with_file_name("service.log"),
    };
    let (mut account, mut password, mut start) = (None, None, ServiceStartType::OnDemand);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} wants a value"))?;
        let number =
            || value.parse::<u64>().map_err(|_no_number| format!("{value:?} is no number"));
        match option.as_str() {
            "--name" => place.name = value,
            "--port" => {
                place.port = u16::try_from(number()?).map_err(|error| error.to_string())?;
            }
            "--step" => place.step = Duration::from_millis(number()?),
            "--log" => place.log = PathBuf::from(value),
            "--account" => account = Some(OsString::from(value)),
            "--password" => password = Some(OsString::from(value)),
            "--start" => {
                start = match value.as_str() {
                    "auto" => ServiceStartType::AutoStart,
                    "demand" => ServiceStartType::OnDemand,
                    "disabled" => ServiceStartType::Disabled,
                    other => return Err(format!("a service does not start {other:?}")),
                }
            }
            other => return Err(format!("there is no option {other}")),
        }
    }
    if password.is_some() && account.is_none() {
        return Err("a password is that of an account: --account".to_owned());
    }
    let name = place.name.clone();
    let deed = match word.as_str() {
        "run" => return Ok(Command::Run(place)),
        "console" => return Ok(Command::Console(place)),
        "install" => Deed::Install { place, account, password, start },
        "uninstall" => Deed::Uninstall,
        "start" => Deed::Start,
        "stop" => Deed::Stop,
        "pause" => Deed::Pause,
        "continue" => Deed::Continue,
        "query" => Deed::Query,
        "interrogate" => Deed::Send(CONTROL_INTERROGATE),
        "paramchange" => Deed::Send(CONTROL_PARAMCHANGE),
        "control" => Deed::Send(code),
        other => return Err(format!("there is no command {other}")),
    };
    Ok(Command::Manage(deed, name))
}

/// Does what the service manager is asked for.
///
/// # Errors
///
/// What could not be done, to which service and, where one was named, as which account; and what the
/// service manager says.
pub(super) fn manage(deed: Deed, name: &str) -> Outcome {
    let act = deed.act(name);
    carry_out(deed, name).map_err(|source| Undone { act, source }.into())
}

fn carry_out(deed: Deed, name: &str) -> Outcome {
    match deed {
        Deed::Install { place, account, password, start } => {
            install(&place, account, password, start)
        }
        Deed::Uninstall => {
            opened(name, ServiceAccess::DELETE)?.delete()?;
            eventlog::forget_source(name)?;
            say(&format!("{name} is uninstalled"))
        }
        Deed::Start => {
            let service = opened(name, ServiceAccess::START | ServiceAccess::QUERY_STATUS)?;
            service.start::<&str>(&[])?;
            until(&service, Stage::Running)
        }
        Deed::Stop => {
            let service = opened(name, ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?;
            service.stop()?;
            until(&service, Stage::Stopped)
        }
        Deed::Pause => {
            let service =
                opened(name, ServiceAccess::PAUSE_CONTINUE | ServiceAccess::QUERY_STATUS)?;
            service.pause()?;
            until(&service, Stage::Paused)
        }
        Deed::Continue => {
            let service =
                opened(name, ServiceAccess::PAUSE_CONTINUE | ServiceAccess::QUERY_STATUS)?;
            service.resume()?;
            until(&service, Stage::Running)
        }
        Deed::Query => query(&opened(name, ServiceAccess::QUERY_STATUS)?),
        Deed::Send(code) => {
            let access = ServiceAccess::INTERROGATE
                | ServiceAccess::PAUSE_CONTINUE
                | ServiceAccess::QUERY_STATUS
                | ServiceAccess::USER_DEFINED_CONTROL;
            let service = opened(name, access)?;
            // What it answers is its state, which is told below.
            let _state = match UserEventCode::from_raw(code) {
                Ok(user) => stage_of(service.notify(user)?.current_state),
                Err(_system) => {
                    let code = u8::try_from(control::control(&service, code)?)?;
                    Stage::from_code(code).ok_or("the manager tells a state that there is not")?
                }
            };
            query(&service)
        }
    }
}

fn opened(name: &str, access: ServiceAccess) -> Result<Service, windows_service::Error> {
    ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)?
        .open_service(name, access)
}

fn install(
    place: &Place,
    account: Option<OsString>,
    password: Option<OsString>,
    start: ServiceStartType,
) -> Outcome {
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&str>, access)?;
    let step = place.step.as_millis().to_string();
    let arguments = [
        "run".into(),
        "--name".into(),
        OsString::from(&place.name),
        "--port".into(),
        place.port.to_string().into(),
        "--step".into(),
        step.into(),
        "--log".into(),
        place.log.clone().into(),
    ];
    let info = ServiceInfo {
        name: OsString::from(&place.name),
        display_name: OsString::from(format!("Echo ({})", place.name)),
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
    if let Err(error) = set_up(&service, &place.name) {
        // What is installed in part would start in part.
        service.delete()?;
        return Err(error);
    }
    say(&format!("{} is installed", place.name))
}

fn set_up(service: &Service, name: &str) -> Outcome {
    service.set_description("Says what it is told, as an example of daemon-service")?;
    let again = |delay| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay: Duration::from_secs(delay),
    };
    service.update_failure_actions(ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(24 * 3600)),
        reboot_msg: None,
        command: None,
        actions: Some(vec![again(1), again(5), again(60)]),
    })?;
    if let Err(error) = service.set_failure_actions_on_non_crash_failures(true) {
        say(&format!("it is started again after a crash alone: {error}"))?;
    }
    service.set_preshutdown_timeout(Duration::from_secs(30))?;
    eventlog::register_source(name)?;
    Ok(())
}

fn stage(service: &Service) -> Result<Stage, windows_service::Error> {
    Ok(stage_of(service.query_status()?.current_state))
}

fn stage_of(state: ServiceState) -> Stage {
    match state {
        ServiceState::Stopped => Stage::Stopped,
        ServiceState::StartPending => Stage::StartPending,
        ServiceState::StopPending => Stage::StopPending,
        ServiceState::Running => Stage::Running,
        ServiceState::ContinuePending => Stage::ContinuePending,
        ServiceState::PausePending => Stage::PausePending,
        ServiceState::Paused => Stage::Paused,
    }
}

fn until(service: &Service, wanted: Stage) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = service.query_status()?;
        let stage = stage(service)?;
        if stage == wanted {
            return query(service);
        }
        if stage == Stage::Stopped {
            return Err(format!("it has stopped: {:?}", status.exit_code).into());
        }
        if Instant::now() > deadline {
            return Err(format!("it is {} still", stage.word()).into());
        }
        std::thread::park_timeout(LOOK);
    }
}

fn query(service: &Service) -> Outcome {
    let status = service.query_status()?;
    say(&format!(
        "{} checkpoint={} wait_hint={}ms exit_code={:?} accepts={:?} pid={}",
        stage(service)?.word(),
        status.checkpoint,
        status.wait_hint.as_millis(),
        status.exit_code,
        status.controls_accepted,
        status.process_id.unwrap_or(0),
    ))
}

#[expect(clippy::print_stdout, reason = "it is what was asked for")]
fn say(text: &str) -> Outcome {
    println!("{text}");
    Ok(())
}
