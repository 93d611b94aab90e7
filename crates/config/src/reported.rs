//! Parameters that PostgreSQL reports and no session can change.

/// Whether a parameter is reported by PostgreSQL, but cannot be set.
///
/// Source: PostgreSQL documentation, "Asynchronous Operations".
pub fn is_read_only_parameter(name: &str) -> bool {
    READ_ONLY
        .iter()
        .any(|fixed| fixed.eq_ignore_ascii_case(name))
}

const READ_ONLY: [&str; 6] = [
    "server_version",
    "server_encoding",
    "integer_datetimes",
    "is_superuser",
    "in_hot_standby",
    "disconnect_requested",
];
