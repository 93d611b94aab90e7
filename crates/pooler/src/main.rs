//! The pgskein program.
fn main() {}
