//! The parts of `gearman_worker`, for their unit tests.

mod functions;
mod protocol;
mod worker;

#[test]
fn all_functions_have_names_that_gearmand_takes() {
    let worker = worker::Worker::new(&"127.0.0.1:4730".parse().expect("an address"), "a-worker")
        .expect("it is a name");
    assert!(functions::all(worker).is_ok());
}
