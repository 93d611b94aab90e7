//! What every worker knows by itself: the tables that need nobody else.

use pgskein_config::{Settings, When};
use pgskein_pool::console::Kind::{self, Int4, Int8, Text};
use pgskein_pool::console::{Row, Value};

use super::commands::{Own, Parameter};
use super::values::Columns;
use crate::scoreboard::{CellView, WorkerState};
use crate::start::program;

impl Own {
    /// The columns of its table; none if it is told by a notice.
    pub(super) fn columns(self) -> Option<Columns> {
        let columns: &[(&'static str, Kind)] = match self {
            Self::Help => return None,
            Self::Config => &[
                ("key", Text),
                ("value", Text),
                ("default", Text),
                ("changeable", Text),
            ],
            Self::Version => &[("version", Text)],
            Self::One => &[("?column?", Int4)],
            Self::Workers => &[
                ("worker", Int4),
                ("pid", Int4),
                ("slot", Int4),
                ("generation", Int4),
                ("state", Text),
                ("clients", Int4),
                ("waiting", Int4),
                ("servers", Int4),
                ("cleaned", Int8),
                ("prepared_statements", Int8),
                ("prepared_memory", Int8),
                ("uptime", Int8),
                ("moved", Int8),
                ("refused", Int8),
                ("arrived", Int8),
            ],
        };
        Some(columns.to_vec())
    }
}

impl Parameter {
    /// The column of its value.
    pub(super) fn columns(&self) -> Columns {
        vec![(self.name, Text)]
    }
}

/// Name and version of the program.
pub(super) fn version() -> Vec<Row> {
    let version = format!("pgskein {}", program::version());
    vec![vec![Value::from(version.as_str())]]
}

/// Every setting, by name.
pub(super) fn config(settings: &Settings) -> Vec<Row> {
    let mut table_of_settings: Vec<_> = pgskein_config::table().iter().collect();
    table_of_settings.sort_unstable_by_key(|info| info.name);
    let rows = table_of_settings.into_iter().map(|info| {
        let changeable = match info.takes_effect {
            When::Now => "yes",
            When::Restart | When::Start => "no",
        };
        vec![
            Value::from(info.name),
            Value::text(settings.value(info.name).unwrap_or_default()),
            Value::from(info.default),
            Value::from(changeable),
        ]
    });
    rows.collect()
}

/// Every living worker; `now_unix` is the time in seconds since 1970.
pub(super) fn workers(cells: impl Iterator<Item = CellView>, now_unix: u64) -> Vec<Row> {
    let mut living: Vec<(&str, CellView)> = cells
        .filter_map(|cell| state_text(cell.state).map(|state| (state, cell)))
        .collect();
    living.sort_unstable_by_key(|(_, cell)| (cell.slot.get(), cell.generation));
    let rows = living.into_iter().map(|(state, cell)| {
        vec![
            Value::number(cell.slot.get()),
            Value::number(cell.pid),
            Value::number(cell.slot.get()),
            Value::number(cell.generation),
            Value::from(state),
            Value::number(cell.clients),
            Value::number(cell.waiting),
            Value::number(cell.servers),
            Value::number(cell.cleaned),
            Value::number(cell.prepared),
            Value::number(cell.prepared_bytes),
            Value::number(now_unix.saturating_sub(cell.started_unix)),
            Value::number(cell.moved),
            Value::number(cell.unmoved),
            Value::number(cell.arrived),
        ]
    });
    rows.collect()
}

/// What a living worker is doing, in one word.
fn state_text(state: WorkerState) -> Option<&'static str> {
    match state {
        WorkerState::Starting => Some("starting"),
        WorkerState::Ready => Some("ready"),
        WorkerState::Draining => Some("draining"),
        WorkerState::Empty | WorkerState::Dead => None,
    }
}

#[cfg(test)]
mod tests {
    use pgskein_protocol::Slot;

    use super::*;

    fn cell(slot: u8, generation: u32, state: WorkerState) -> CellView {
        CellView {
            index: 0,
            pid: 4711,
            slot: Slot::new(slot).unwrap(),
            generation,
            started_unix: 1000,
            state,
            clients: 5,
            waiting: 2,
            servers: 3,
            cleaned: 6,
            prepared: 7,
            prepared_bytes: 800,
            moved: 9,
            unmoved: 1,
            arrived: 4,
        }
    }

    fn texts(rows: &[Row]) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::Number(number) => number.to_string(),
            other => other.as_text().to_owned(),
        };
        let row = |row: &Row| row.iter().map(text).collect::<Vec<_>>().join("|");
        rows.iter().map(row).collect()
    }

    #[test]
    fn writes_living_workers_by_slot_and_generation() {
        let cells = [
            cell(2, 1, WorkerState::Ready),
            cell(1, 3, WorkerState::Starting),
            cell(3, 1, WorkerState::Dead),
            cell(1, 2, WorkerState::Draining),
        ];
        let rows = workers(cells.into_iter(), 1060);
        assert_eq!(
            texts(&rows),
            [
                "1|4711|1|2|draining|5|2|3|6|7|800|60|9|1|4",
                "1|4711|1|3|starting|5|2|3|6|7|800|60|9|1|4",
                "2|4711|2|1|ready|5|2|3|6|7|800|60|9|1|4",
            ]
        );
        let columns = Own::Workers.columns().unwrap();
        assert_eq!(columns.len(), rows[0].len());
    }

    #[test]
    fn writes_an_uptime_of_zero_when_the_clock_was_set_back() {
        let cells = [cell(1, 1, WorkerState::Ready)];
        let rows = workers(cells.into_iter(), 900);
        assert!(texts(&rows)[0].ends_with("|0|9|1|4"));
    }

    #[test]
    fn writes_every_setting_by_name() {
        let rows = texts(&config(&Settings::default()));
        assert_eq!(rows.len(), pgskein_config::table().len());
        assert!(rows.is_sorted_by_key(|row| row.split('|').next()));
        assert!(rows.contains(&"default_pool_size|20|20|yes".to_owned()));
        assert!(rows.contains(&"workers|auto|auto|no".to_owned()));
    }

    #[test]
    fn writes_the_version_of_the_program() {
        assert!(texts(&version())[0].starts_with("pgskein "));
    }
}
