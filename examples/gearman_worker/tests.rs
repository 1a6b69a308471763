//! Unit tests of `gearman_worker`.

mod functions;
mod protocol;
mod worker;

#[test]
fn all_functions_have_valid_names() {
    let worker =
        worker::GearmanWorker::new(&"127.0.0.1:4730".parse().expect("a valid address"), "a-worker")
            .expect("a valid name");
    assert!(functions::all(worker).is_ok());
}
