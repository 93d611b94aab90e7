//! RESTART, as an administrator orders it.

use crate::client::Login;
use crate::pooler::Pooler;
use crate::wait::{PATIENCE, within};

/// Replaces the group, as soon as nothing of an earlier restart is left.
///
/// # Panics
///
/// When it is refused for too long.
pub fn restart(pooler: &Pooler) {
    let login = Login::new().database("pgskein");
    let mut said = None;
    let done = within(PATIENCE, || {
        let console = pooler.connect_unix(&login);
        let console = console.unwrap_or_else(|e| panic!("no console: {e:?}"));
        let done = console.query("RESTART").is_ok();
        said = console.last_error();
        done
    });
    assert!(done, "RESTART is refused: {said:?}");
}
