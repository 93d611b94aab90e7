//! Libraries in C that come between the program and the C library.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::folder::Folder;
use crate::tools::{PROGRAM_DEADLINE, run};

/// Compiles one to `NAME.so` in `folder`, for `LD_PRELOAD`.
///
/// # Panics
///
/// When it cannot be compiled.
pub(crate) fn compile(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let source = folder.join(&format!("{name}.c"));
    fs::write(&source, text).expect("a file can be written");
    let library = folder.join(&format!("{name}.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
    compiler.arg(&library).arg(&source).arg("-ldl");
    run(compiler, PROGRAM_DEADLINE).ok();
    library
}
