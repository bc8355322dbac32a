//! A KAZOO client works unchanged but for its base URL: the Python SDK of the vendor, as it lies on PyPI, against the real server.
//!
//! Needs Python and, for the first run, the network: `cargo test --test kazoo_client -- --ignored`; `tests/run` includes it.

use std::path::Path;
use std::process::Command;

use confab_testkit::server::{ACCOUNT_ID, API_KEY, ServerBuilder};

/// What a first start makes.
const ACCOUNT_NAME: &str = "default";
const USERNAME: &str = "admin";
const PASSWORD: &str = "a password for one test";

#[test]
#[ignore = "needs Python and PyPI; tests/run runs it"]
fn the_python_sdk_does_its_work() {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("bootstrap.password", &format!("{PASSWORD:?}"))
        .start()
        .expect("started");
    let outcome = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kazoo_client/run"))
        .arg(format!("http://{}/v2", server.http))
        .args([API_KEY, ACCOUNT_ID, ACCOUNT_NAME, USERNAME, PASSWORD])
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&outcome.stdout);
    let complaints = String::from_utf8_lossy(&outcome.stderr);
    println!("{said}{complaints}");
    assert!(outcome.status.success(), "{complaints}");
    assert!(said.ends_with("all done\n"), "{said}");
}
