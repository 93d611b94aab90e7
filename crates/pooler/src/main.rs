//! The pgskein program.

mod link;
mod runtime_dir;
mod scoreboard;
mod sys;
mod worker;

fn main() {}
