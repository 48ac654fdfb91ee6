//! Where the workspace is that is being tested.

use std::path::PathBuf;

/// The workspace's folder. Cargo says it when it starts a program, not when it compiles one: checkouts that share their
/// compiled files may run a program that another of them has compiled.
///
/// # Panics
/// If the program was not started by cargo.
pub fn folder() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("workspace: cargo did not start this program");
    let package = PathBuf::from(package);
    package.parent().expect("workspace: a package has a folder around it").to_owned()
}
