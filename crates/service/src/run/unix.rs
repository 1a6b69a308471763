//! Runs a service on Unix, in the calling thread. The name of the service is used only on Windows.

use std::error::Error;

use actix::Addr;

use super::serve;
use crate::actor::ServiceActor;
use crate::error::ServiceError;

pub(super) fn run<F>(_name: &str, start: F) -> Result<u32, ServiceError>
where
    F: FnOnce() -> Result<Addr<ServiceActor>, Box<dyn Error>> + Send + 'static,
{
    serve(start)
}
