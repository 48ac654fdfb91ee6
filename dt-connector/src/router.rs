//! What things are called on the target (`[router]`).
