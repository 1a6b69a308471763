//! The table of methods: what can be called, found in the original's order, with hooks around it.
//!
//! It is made before the launch, so parent and workers have the same one, and a method goes over the
//! link by its number.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::{Body, fits};
use crate::call::Call;
use crate::panics;

/// How a handler has ended, with the bytes of what it has to say.
#[derive(Debug)]
pub(crate) enum Done {
    Value(Body),
    Failed(String),
    TimedOut(String),
    Panicked { message: String, backtrace: String },
    Unfit(String),
}

type SyncMethodFn = dyn Fn(&Call, Body) -> Done;
type AsyncMethodFn = dyn Fn(Call, Body) -> LocalBoxFuture<'static, Done>;

/// A method's code.
#[derive(Clone)]
enum MethodCode {
    Sync(Rc<SyncMethodFn>),
    Async(Rc<AsyncMethodFn>),
}

/// A method: its code, and how its parameters are told from others.
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
    pub(crate) fn now<P, T, E>(act: impl Fn(&Call, P) -> Result<T, E> + 'static) -> Method
    where
        P: DeserializeOwned,
        T: Serialize,
        E: Display,
    {
        let code = move |call: &Call, params: Body| match taken::<P>(params) {
            Ok(params) => conclude(call, act(call, params)),
            Err(why) => Done::Unfit(why),
        };
        Method { code: MethodCode::Sync(Rc::new(code)), check: fits::<P> }
    }

    pub(crate) fn later<P, T, E>(act: impl AsyncFn(Call, P) -> Result<T, E> + 'static) -> Method
    where
        P: DeserializeOwned + 'static,
        T: Serialize,
        E: Display,
    {
        let act = Rc::new(act);
        let code = move |call: Call, params: Body| match taken::<P>(params) {
            Ok(params) => {
                let act = Rc::clone(&act);
                async move { conclude(&call, act(call.clone(), params).await) }.boxed_local()
            }
            Err(why) => std::future::ready(Done::Unfit(why)).boxed_local(),
        };
        Method { code: MethodCode::Async(Rc::new(code)), check: fits::<P> }
    }

    /// Tells whether parameters are the method's.
    pub(crate) fn check(&self, params: &Body) -> Result<(), String> {
        (self.check)(params.bytes())
    }
}

/// Takes parameters from what they came as, of which nothing else is kept.
fn taken<P: DeserializeOwned>(params: Body) -> Result<P, String> {
    params.decode()
}

fn conclude<T: Serialize, E: Display>(call: &Call, ended: Result<T, E>) -> Done {
    match ended {
        Ok(value) => match Body::of(&value) {
            Ok(body) => Done::Value(body),
            Err(error) => Done::Failed(error.to_string()),
        },
        Err(error) if call.is_overdue() => Done::TimedOut(error.to_string()),
        Err(error) => Done::Failed(error.to_string()),
    }
}

/// A namespace of methods: `Image` with `resize` is called as `Image::resize`.
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
    /// A class without methods yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Class {
        Class { name: name.into(), methods: Vec::new() }
    }

    /// Adds a method, as [`DispatcherBuilder::method`](crate::DispatcherBuilder::method).
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
        self.methods.push((name.into(), Method::now(act)));
        self
    }

    /// Adds an async method, as [`DispatcherBuilder::async_method`](crate::DispatcherBuilder::async_method).
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
        self.methods.push((name.into(), Method::later(act)));
        self
    }
}

/// A method that has no name: a request brings it along, and it comes before any that has one.
///
/// Code cannot cross to a process that is there already, so it is shown to the dispatcher before the
/// launch ([`DispatcherBuilder::anonymous_method`](crate::DispatcherBuilder::anonymous_method)); what a request brings is this mark
/// of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnonymousMethod(pub(crate) u16);

/// What a name has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MethodTarget {
    Method(u16),
    Fallback,
}

type Before = Rc<dyn Fn(&Call) -> Result<(), String>>;
type After = Rc<dyn Fn(&Call)>;
type Plain = Rc<dyn Fn()>;

/// What runs around calls and forks. The original's `_precall`, `_postcall`, `_fork_preinit`,
/// `_fork_postinit` and `_fork_init`.
#[derive(Default, Clone)]
pub(crate) struct Hooks {
    pub(crate) precall: Option<Before>,
    pub(crate) postcall: Option<After>,
    pub(crate) fork_preinit: Option<Plain>,
    pub(crate) fork_postinit: Option<Rc<dyn Fn(actix_daemon::Pid)>>,
    pub(crate) fork_init: Option<Plain>,
}

/// All methods, by number and by name.
#[derive(Default)]
pub(crate) struct Methods {
    table: Vec<Method>,
    plain: HashMap<String, u16>,
    classes: HashMap<String, u16>,
    pub(crate) hooks: Hooks,
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods")
            .field("plain", &self.plain)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

/// The method of this name is there twice, or there are more than can be numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    Twice,
    TooMany,
}

impl Methods {
    fn push(&mut self, method: Method) -> Result<u16, Unfit> {
        let number = u16::try_from(self.table.len()).map_err(|_too_many| Unfit::TooMany)?;
        self.table.push(method);
        Ok(number)
    }

    pub(crate) fn add(&mut self, name: String, method: Method) -> Result<(), Unfit> {
        let number = self.push(method)?;
        self.plain.insert(name, number).map_or(Ok(()), |_former| Err(Unfit::Twice))
    }

    pub(crate) fn add_to_class(&mut self, name: String, method: Method) -> Result<(), Unfit> {
        let number = self.push(method)?;
        self.classes.insert(name, number).map_or(Ok(()), |_former| Err(Unfit::Twice))
    }

    pub(crate) fn add_own(&mut self, method: Method) -> Result<AnonymousMethod, Unfit> {
        self.push(method).map(AnonymousMethod)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Finds what is called: the request's own method, a method of this name, one of a class.
    pub(crate) fn find(&self, own: Option<AnonymousMethod>, name: &str) -> Option<u16> {
        match own {
            Some(AnonymousMethod(number)) => Some(number),
            None => self.plain.get(name).or_else(|| self.classes.get(name)).copied(),
        }
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Method> {
        self.table.get(usize::from(number))
    }

    /// Calls a method with its hooks around it. What panics is caught.
    pub(crate) fn start(&self, number: u16, call: &Call, params: Body) -> Invocation {
        let Some(method) = self.get(number) else {
            return Invocation::Finished(Done::Unfit("there is no such method".into()));
        };
        if let Some(precall) = &self.hooks.precall {
            match panics::caught(|| precall(call)) {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => return Invocation::Finished(Done::Failed(refused)),
                Err(panicked) => return Invocation::Finished(panicked),
            }
        }
        match &method.code {
            MethodCode::Sync(code) => {
                let done =
                    panics::caught(|| code(call, params)).unwrap_or_else(|panicked| panicked);
                Invocation::Finished(self.finish(call, done))
            }
            MethodCode::Async(code) => match panics::caught(|| code(call.clone(), params)) {
                Ok(future) => Invocation::Pending(future),
                Err(panicked) => Invocation::Finished(self.finish(call, panicked)),
            },
        }
    }

    /// Waits for what goes on.
    pub(crate) async fn finish_later(
        &self,
        call: &Call,
        running: LocalBoxFuture<'static, Done>,
    ) -> Done {
        let done = match AssertUnwindSafe(running).catch_unwind().await {
            Ok(done) => done,
            Err(payload) => panics::told(payload.as_ref()),
        };
        self.finish(call, done)
    }

    fn finish(&self, call: &Call, done: Done) -> Done {
        match &self.hooks.postcall {
            None => done,
            Some(postcall) => match panics::caught(|| postcall(call)) {
                Ok(()) => done,
                Err(panicked) => panicked,
            },
        }
    }
}

/// A method that was called.
pub(crate) enum Invocation {
    Finished(Done),
    Pending(LocalBoxFuture<'static, Done>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> Method {
        Method::now(move |_call, (): ()| Ok::<_, String>(number))
    }

    fn call() -> Call {
        Call::new(1, "test", "local", 1, None, daemon_forkserver::now(), None)
    }

    fn value(methods: &Methods, found: u16, params: &Body) -> Result<u32, Done> {
        match methods.start(found, &call(), params.clone()) {
            Invocation::Finished(Done::Value(body)) => Ok(body.decode().unwrap()),
            Invocation::Finished(other) => Err(other),
            Invocation::Pending(_) => unreachable!("it is not async"),
        }
    }

    #[test]
    fn the_request_s_own_method_comes_first_then_the_registered_then_the_class() {
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
    fn a_name_that_is_there_twice_is_refused() {
        let mut methods = Methods::default();
        methods.add("a".into(), number(1)).unwrap();
        assert_eq!(methods.add("a".into(), number(2)), Err(Unfit::Twice));
    }

    #[test]
    fn hooks_run_around_a_call_and_the_first_may_refuse_it() {
        let told = Rc::new(std::cell::RefCell::new(Vec::new()));
        let note = |what: &'static str| {
            let told = Rc::clone(&told);
            move || told.borrow_mut().push(what)
        };
        let (before, during, after) = (note("before"), note("during"), note("after"));
        let mut methods = Methods::default();
        let act = move |_call: &Call, (): ()| {
            during();
            Ok::<_, String>(1_u32)
        };
        methods.add("a".into(), Method::now(act)).unwrap();
        methods.hooks.precall = Some(Rc::new(move |call| {
            before();
            if call.from() == "stranger" { Err("not you".to_owned()) } else { Ok(()) }
        }));
        methods.hooks.postcall = Some(Rc::new(move |_call| after()));
        assert_eq!(value(&methods, 0, &Body::of(&()).unwrap()).unwrap(), 1);
        assert_eq!(*told.borrow(), ["before", "during", "after"]);
        let stranger = Call::new(1, "a", "stranger", 1, None, daemon_forkserver::now(), None);
        match methods.start(0, &stranger, Body::EMPTY) {
            Invocation::Finished(Done::Failed(why)) => assert_eq!(why, "not you"),
            _ => panic!("it is refused"),
        }
        assert_eq!(told.borrow().len(), 4, "neither called nor told after it");
    }

    #[test]
    fn a_panic_is_told_with_its_words() {
        let mut methods = Methods::default();
        let act = |_call: &Call, word: String| -> Result<(), String> { panic!("no {word}") };
        methods.add("a".into(), Method::now(act)).unwrap();
        match value(&methods, 0, &Body::of(&"way").unwrap()) {
            Err(Done::Panicked { message, .. }) => assert!(message.contains("no way"), "{message}"),
            other => panic!("it panics: {other:?}"),
        }
    }
}
