//! The method table. It finds methods by name, with the precedence that the manual of the original,
//! `POE::Component::PreforkDispatch`, specifies, and runs the hooks around each call.
//!
//! The table is built before the launch, so the parent and the workers have the same table. A task
//! that is sent to a worker therefore identifies its method by number.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::panic;
use std::rc::Rc;

use actix_daemon::panics::{self as panics, Panic};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::{BODY_MAX, Body, EncodeError, fits};
use crate::call::Call;
use crate::request::AnonymousMethod;

/// The outcome of a handler, with the encoded value or the error text.
#[derive(Debug)]
pub(crate) enum HandlerOutcome {
    Value(Body),
    Failed(String),
    TimedOut(String),
    Panicked { message: String, backtrace: String },
    InvalidParams(String),
}

/// The third argument is the size of the largest result in bytes.
type SyncMethodFn = dyn Fn(&Call, Body, usize) -> HandlerOutcome;
/// The third argument is the size of the largest result in bytes.
type AsyncMethodFn = dyn Fn(Call, Body, usize) -> LocalBoxFuture<'static, HandlerOutcome>;

/// A method's code.
#[derive(Clone)]
enum MethodCode {
    Sync(Rc<SyncMethodFn>),
    Async(Rc<AsyncMethodFn>),
}

/// A method: its code, and the check of its parameters.
#[derive(Clone)]
pub(crate) struct Method {
    code: MethodCode,
    check: fn(&[u8]) -> Result<(), String>,
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.code {
            MethodCode::Sync(_) => "Method",
            MethodCode::Async(_) => "Method (async)",
        })
    }
}

impl Method {
    pub(crate) fn sync<P, T, E>(act: impl Fn(&Call, P) -> Result<T, E> + 'static) -> Method
    where
        P: DeserializeOwned,
        T: Serialize,
        E: Display,
    {
        let code = move |call: &Call, params: Body, limit| match decode_params::<P>(params) {
            Ok(params) => outcome_of(call, act(call, params), limit),
            Err(reason) => HandlerOutcome::InvalidParams(reason),
        };
        Method { code: MethodCode::Sync(Rc::new(code)), check: fits::<P> }
    }

    pub(crate) fn from_async<P, T, E>(
        act: impl AsyncFn(Call, P) -> Result<T, E> + 'static,
    ) -> Method
    where
        P: DeserializeOwned + 'static,
        T: Serialize,
        E: Display,
    {
        let act = Rc::new(act);
        let code = move |call: Call, params: Body, limit| match decode_params::<P>(params) {
            Ok(params) => {
                let act = Rc::clone(&act);
                async move { outcome_of(&call, act(call.clone(), params).await, limit) }
                    .boxed_local()
            }
            Err(reason) => std::future::ready(HandlerOutcome::InvalidParams(reason)).boxed_local(),
        };
        Method { code: MethodCode::Async(Rc::new(code)), check: fits::<P> }
    }

    /// Checks that the parameters can be decoded.
    pub(crate) fn check(&self, params: &Body) -> Result<(), String> {
        (self.check)(params.bytes())
    }
}

/// Decodes the parameters and drops their body.
fn decode_params<P: DeserializeOwned>(params: Body) -> Result<P, String> {
    params.decode()
}

/// Encodes the result of a handler. A value of more than `limit` bytes is a failure.
fn outcome_of<T: Serialize, E: Display>(
    call: &Call,
    result: Result<T, E>,
    limit: usize,
) -> HandlerOutcome {
    match result {
        Ok(value) => match Body::within(&value, limit) {
            Ok(body) => HandlerOutcome::Value(body),
            Err(error @ EncodeError::TooLarge { .. }) => {
                HandlerOutcome::Failed(format!("cannot return the result: {error} (result_limit)"))
            }
            Err(error) => HandlerOutcome::Failed(error.to_string()),
        },
        Err(error) if call.is_overdue() => HandlerOutcome::TimedOut(error.to_string()),
        Err(error) => HandlerOutcome::Failed(error.to_string()),
    }
}

/// A namespace of methods: method `resize` of class `Image` is called as `Image::resize`.
///
/// # Examples
///
/// ```
/// use actix_dispatch::Class;
///
/// let image = Class::new("Image")
///     .method("area", |_call, (width, height): (u32, u32)| Ok::<_, String>(width * height));
/// ```
#[derive(Debug)]
pub struct Class {
    pub(crate) name: String,
    pub(crate) methods: Vec<(String, Method)>,
}

impl Class {
    /// Creates a class without methods.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Class {
        Class { name: name.into(), methods: Vec::new() }
    }

    /// Adds a method, like [`DispatcherBuilder::method`](crate::DispatcherBuilder::method).
    #[must_use]
    pub fn method<P, T, E>(
        mut self,
        name: impl Into<String>,
        act: impl Fn(&Call, P) -> Result<T, E> + 'static,
    ) -> Class
    where
        P: DeserializeOwned,
        T: Serialize,
        E: Display,
    {
        self.methods.push((name.into(), Method::sync(act)));
        self
    }

    /// Adds an async method, like
    /// [`DispatcherBuilder::async_method`](crate::DispatcherBuilder::async_method).
    #[must_use]
    pub fn async_method<P, T, E>(
        mut self,
        name: impl Into<String>,
        act: impl AsyncFn(Call, P) -> Result<T, E> + 'static,
    ) -> Class
    where
        P: DeserializeOwned + 'static,
        T: Serialize,
        E: Display,
    {
        self.methods.push((name.into(), Method::from_async(act)));
        self
    }
}

type PrecallHook = Rc<dyn Fn(&Call) -> Result<(), String>>;
type PostcallHook = Rc<dyn Fn(&Call)>;
type ForkHook = Rc<dyn Fn()>;

/// The hooks that run around calls and forks. In the original they are called `_precall`,
/// `_postcall`, `_fork_preinit`, `_fork_postinit` and `_fork_init`.
#[derive(Default, Clone)]
pub(crate) struct Hooks {
    pub(crate) precall: Option<PrecallHook>,
    pub(crate) postcall: Option<PostcallHook>,
    pub(crate) fork_preinit: Option<ForkHook>,
    pub(crate) fork_postinit: Option<Rc<dyn Fn(actix_daemon::Pid)>>,
    pub(crate) fork_init: Option<ForkHook>,
}

/// All methods, indexed by number and by name.
pub(crate) struct Methods {
    table: Vec<Method>,
    named: HashMap<String, u16>,
    classes: HashMap<String, u16>,
    pub(crate) hooks: Hooks,
    /// The size of the largest result in bytes.
    pub(crate) result_limit: usize,
}

impl Default for Methods {
    fn default() -> Methods {
        Methods {
            table: Vec::new(),
            named: HashMap::new(),
            classes: HashMap::new(),
            hooks: Hooks::default(),
            result_limit: BODY_MAX,
        }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods")
            .field("named", &self.named)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

/// The reason why a method cannot be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddMethodError {
    /// Another method has the same name.
    Duplicate,
    /// The method numbers are used up.
    TooMany,
}

impl Methods {
    fn push(&mut self, method: Method) -> Result<u16, AddMethodError> {
        let number =
            u16::try_from(self.table.len()).map_err(|_too_many| AddMethodError::TooMany)?;
        self.table.push(method);
        Ok(number)
    }

    pub(crate) fn add(&mut self, name: String, method: Method) -> Result<(), AddMethodError> {
        let number = self.push(method)?;
        self.named.insert(name, number).map_or(Ok(()), |_former| Err(AddMethodError::Duplicate))
    }

    pub(crate) fn add_to_class(
        &mut self,
        name: String,
        method: Method,
    ) -> Result<(), AddMethodError> {
        let number = self.push(method)?;
        self.classes.insert(name, number).map_or(Ok(()), |_former| Err(AddMethodError::Duplicate))
    }

    pub(crate) fn add_own(&mut self, method: Method) -> Result<AnonymousMethod, AddMethodError> {
        self.push(method).map(AnonymousMethod)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns the number of the method to call: the anonymous method of the request, or else the
    /// method with this name, or else the class method with this name.
    pub(crate) fn find(&self, own: Option<AnonymousMethod>, name: &str) -> Option<u16> {
        match own {
            Some(AnonymousMethod(number)) => Some(number),
            None => self.named.get(name).or_else(|| self.classes.get(name)).copied(),
        }
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Method> {
        self.table.get(usize::from(number))
    }

    /// Calls a method with its hooks, and catches panics. For an async method, returns its future.
    pub(crate) fn start(&self, number: u16, call: &Call, params: Body) -> Invocation {
        let Some(method) = self.get(number) else {
            return Invocation::Finished(HandlerOutcome::InvalidParams("no such method".into()));
        };
        if let Some(precall) = &self.hooks.precall {
            match catch(|| precall(call)) {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => return Invocation::Finished(HandlerOutcome::Failed(refused)),
                Err(panicked) => return Invocation::Finished(panicked),
            }
        }
        match &method.code {
            MethodCode::Sync(code) => {
                let done = catch(|| code(call, params, self.result_limit))
                    .unwrap_or_else(|panicked| panicked);
                Invocation::Finished(self.finish(call, done))
            }
            MethodCode::Async(code) => {
                match catch(|| code(call.clone(), params, self.result_limit)) {
                    Ok(future) => Invocation::Pending(future),
                    Err(panicked) => Invocation::Finished(self.finish(call, panicked)),
                }
            }
        }
    }

    /// Waits for an async method, then runs the postcall hook.
    pub(crate) async fn wait_for(
        &self,
        call: &Call,
        running: LocalBoxFuture<'static, HandlerOutcome>,
    ) -> HandlerOutcome {
        let done = panics::contain(running).await.unwrap_or_else(outcome_of_panic);
        self.finish(call, done)
    }

    fn finish(&self, call: &Call, done: HandlerOutcome) -> HandlerOutcome {
        match &self.hooks.postcall {
            None => done,
            Some(postcall) => match catch(|| postcall(call)) {
                Ok(()) => done,
                Err(panicked) => panicked,
            },
        }
    }
}

/// A method call: finished, or a future that is still running.
pub(crate) enum Invocation {
    Finished(HandlerOutcome),
    Pending(LocalBoxFuture<'static, HandlerOutcome>),
}

thread_local! {
    /// The backtrace of this thread's last panic.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs a panic hook that calls the previous hook, which is the daemon's, and then records the
/// backtrace.
pub(crate) fn install_panic_hook() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        previous(info);
        let trace = Backtrace::force_capture().to_string();
        // The access fails if the thread is exiting. In that case the record is not needed.
        let _ = LAST.try_with(|last| last.replace(Some(trace)));
    }));
}

/// Runs `act` and turns a panic into [`HandlerOutcome::Panicked`].
fn catch<T>(act: impl FnOnce() -> T) -> Result<T, HandlerOutcome> {
    panics::catch(act).map_err(outcome_of_panic)
}

/// Returns the outcome of a handler whose panic was caught.
fn outcome_of_panic(panic: Panic) -> HandlerOutcome {
    let Panic { message, location, .. } = panic;
    let backtrace = LAST.take().unwrap_or_default();
    HandlerOutcome::Panicked { message: format!("{message}, at {location}"), backtrace }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> Method {
        Method::sync(move |_call, (): ()| Ok::<_, String>(number))
    }

    fn call() -> Call {
        Call::new(1, "test", "local", 1, None, daemon_forkserver::now(), None)
    }

    fn value(methods: &Methods, found: u16, params: &Body) -> Result<u32, HandlerOutcome> {
        match methods.start(found, &call(), params.clone()) {
            Invocation::Finished(HandlerOutcome::Value(body)) => Ok(body.decode().unwrap()),
            Invocation::Finished(other) => Err(other),
            Invocation::Pending(_) => unreachable!("the method is not async"),
        }
    }

    #[test]
    fn an_anonymous_method_precedes_a_named_method_which_precedes_a_class_method() {
        let mut methods = Methods::default();
        methods.add_to_class("Image::resize".into(), number(3)).unwrap();
        methods.add_to_class("Image::flip".into(), number(4)).unwrap();
        methods.add("Image::resize".into(), number(2)).unwrap();
        let own = methods.add_own(number(1)).unwrap();
        let none = Body::of(&()).unwrap();
        let called = |own, name| value(&methods, methods.find(own, name).unwrap(), &none).unwrap();
        assert_eq!(called(Some(own), "Image::resize"), 1);
        assert_eq!(called(None, "Image::resize"), 2);
        assert_eq!(called(None, "Image::flip"), 4);
        assert_eq!(methods.find(None, "Image::turn"), None);
    }

    #[test]
    fn a_duplicate_name_is_refused() {
        let mut methods = Methods::default();
        methods.add("a".into(), number(1)).unwrap();
        assert_eq!(methods.add("a".into(), number(2)), Err(AddMethodError::Duplicate));
    }

    #[test]
    fn hooks_run_around_a_call_and_precall_can_refuse_it() {
        let calls = Rc::new(std::cell::RefCell::new(Vec::new()));
        let note = |what: &'static str| {
            let calls = Rc::clone(&calls);
            move || calls.borrow_mut().push(what)
        };
        let (before, during, after) = (note("before"), note("during"), note("after"));
        let mut methods = Methods::default();
        let act = move |_call: &Call, (): ()| {
            during();
            Ok::<_, String>(1_u32)
        };
        methods.add("a".into(), Method::sync(act)).unwrap();
        methods.hooks.precall = Some(Rc::new(move |call| {
            before();
            if call.from() == "stranger" { Err("not you".to_owned()) } else { Ok(()) }
        }));
        methods.hooks.postcall = Some(Rc::new(move |_call| after()));
        assert_eq!(value(&methods, 0, &Body::of(&()).unwrap()).unwrap(), 1);
        assert_eq!(*calls.borrow(), ["before", "during", "after"]);
        let stranger = Call::new(1, "a", "stranger", 1, None, daemon_forkserver::now(), None);
        match methods.start(0, &stranger, Body::EMPTY) {
            Invocation::Finished(HandlerOutcome::Failed(message)) => assert_eq!(message, "not you"),
            _ => panic!("expected a refusal"),
        }
        assert_eq!(calls.borrow().len(), 4, "neither the method nor postcall ran");
    }

    #[test]
    fn a_panic_is_returned_with_its_message() {
        let mut methods = Methods::default();
        let act = |_call: &Call, word: String| -> Result<(), String> { panic!("no {word}") };
        methods.add("a".into(), Method::sync(act)).unwrap();
        match value(&methods, 0, &Body::of(&"way").unwrap()) {
            Err(HandlerOutcome::Panicked { message, .. }) => {
                assert!(message.contains("no way"), "{message}");
            }
            other => panic!("expected a panic: {other:?}"),
        }
    }
}
