//! Copies rows with nothing of dt but this crate.
fn main() {}
