//! Role: whether a server is one that `target_session_attrs` asks for.
//!
//! From version 14 on a server reports what decides it at its login; an older
//! one is asked. The rules are those of libpq.
//!
//! Source: PostgreSQL documentation, "Parameter Key Words"
//! (`target_session_attrs`).

use std::fmt;

use pgskein_config::TargetSessionAttrs;

/// What is known of the sessions of a server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Role {
    /// It is a standby: `in_hot_standby`, or what it was asked.
    pub standby: Option<bool>,
    /// `default_transaction_read_only`.
    pub default_read_only: Option<bool>,
    /// `transaction_read_only`, which it was asked.
    pub read_only: Option<bool>,
}

/// Whether a server can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fit {
    /// It can.
    Fits,
    /// It cannot.
    Unfit(Misfit),
    /// It has to be asked this first.
    Ask(Question),
}

/// Why a server cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Misfit {
    /// Its transactions may not write.
    ReadOnly,
    /// They may.
    NotReadOnly,
    /// It is a standby.
    Standby,
    /// It is none.
    NotStandby,
    /// It has not answered what it was asked.
    Unknown,
}

/// What a server is asked that does not report its role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// Whether its transactions may not write.
    ReadOnly,
    /// Whether it is a standby.
    Standby,
}

impl Role {
    /// Whether a server of this role is `wanted`.
    ///
    /// Whoever wants others where there is no standby says so by asking for
    /// [`TargetSessionAttrs::Any`] afterwards.
    pub fn fit(&self, wanted: TargetSessionAttrs) -> Fit {
        match wanted {
            TargetSessionAttrs::Any => Fit::Fits,
            TargetSessionAttrs::ReadWrite => judge(
                self.is_read_only(),
                false,
                Misfit::ReadOnly,
                Question::ReadOnly,
            ),
            TargetSessionAttrs::ReadOnly => judge(
                self.is_read_only(),
                true,
                Misfit::NotReadOnly,
                Question::ReadOnly,
            ),
            TargetSessionAttrs::Primary => {
                judge(self.standby, false, Misfit::Standby, Question::Standby)
            }
            TargetSessionAttrs::Standby | TargetSessionAttrs::PreferStandby => {
                judge(self.standby, true, Misfit::NotStandby, Question::Standby)
            }
        }
    }

    /// The server has answered a question.
    pub fn on_answer(&mut self, question: Question, yes: bool) {
        match question {
            Question::ReadOnly => self.read_only = Some(yes),
            Question::Standby => self.standby = Some(yes),
        }
    }

    /// The role of a server that says that it is a standby now, or none any more;
    /// all else is as it was at its login.
    #[must_use]
    pub fn changed(self, standby: bool) -> Self {
        Self {
            standby: Some(standby),
            default_read_only: self.default_read_only.or(Some(false)),
            read_only: None,
        }
    }

    fn is_read_only(&self) -> Option<bool> {
        match (self.standby, self.default_read_only) {
            (Some(standby), Some(read_only)) => Some(standby || read_only),
            _ => self.read_only,
        }
    }
}

impl Question {
    /// The query that asks it; its answer is one value.
    pub fn sql(self) -> &'static str {
        match self {
            Self::ReadOnly => "SHOW transaction_read_only",
            Self::Standby => "SELECT pg_catalog.pg_is_in_recovery()",
        }
    }

    /// What a value says, if it is an answer.
    pub fn answer(self, value: &[u8]) -> Option<bool> {
        match (self, value) {
            (Self::ReadOnly, b"on") | (Self::Standby, b"t") => Some(true),
            (Self::ReadOnly, b"off") | (Self::Standby, b"f") => Some(false),
            _ => None,
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "session is read-only",
            Self::NotReadOnly => "session is not read-only",
            Self::Standby => "server is in hot standby mode",
            Self::NotStandby => "server is not in hot standby mode",
            Self::Unknown => "server does not say whether it is a standby",
        })
    }
}

fn judge(is: Option<bool>, wanted: bool, misfit: Misfit, question: Question) -> Fit {
    match is {
        Some(is) if is == wanted => Fit::Fits,
        Some(_) => Fit::Unfit(misfit),
        None => Fit::Ask(question),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};

    fn reported(standby: bool, read_only: bool) -> Role {
        Role {
            standby: Some(standby),
            default_read_only: Some(read_only),
            read_only: None,
        }
    }

    #[test]
    fn takes_what_libpq_takes() {
        let roles = [
            reported(false, false),
            reported(false, true),
            reported(true, false),
        ];
        let taken = |wanted| roles.map(|role| role.fit(wanted) == Fit::Fits);
        assert_eq!(taken(Any), [true, true, true]);
        assert_eq!(taken(ReadWrite), [true, false, false]);
        assert_eq!(taken(ReadOnly), [false, true, true]);
        assert_eq!(taken(Primary), [true, true, false]);
        assert_eq!(taken(Standby), [false, false, true]);
        assert_eq!(taken(PreferStandby), [false, false, true]);
    }

    #[test]
    fn asks_an_old_server_only_what_it_has_to() {
        let mut role = Role::default();
        assert_eq!(role.fit(Any), Fit::Fits);
        assert_eq!(role.fit(Primary), Fit::Ask(Question::Standby));
        assert_eq!(role.fit(ReadWrite), Fit::Ask(Question::ReadOnly));
        role.on_answer(Question::ReadOnly, true);
        assert_eq!(role.fit(ReadWrite), Fit::Unfit(Misfit::ReadOnly));
        assert_eq!(role.fit(ReadOnly), Fit::Fits);
        role.on_answer(Question::Standby, false);
        assert_eq!(role.fit(Standby), Fit::Unfit(Misfit::NotStandby));
    }

    #[test]
    fn stays_read_only_by_default_when_it_is_promoted() {
        let promoted = reported(true, true).changed(false);
        assert_eq!(promoted, reported(false, true));
        assert_eq!(promoted.fit(ReadOnly), Fit::Fits);
        assert_eq!(promoted.fit(Standby), Fit::Unfit(Misfit::NotStandby));
        // Nothing is known of it.
        assert_eq!(Role::default().changed(false), reported(false, false));
    }

    #[test]
    fn understands_its_own_questions() {
        assert_eq!(Question::ReadOnly.answer(b"on"), Some(true));
        assert_eq!(Question::Standby.answer(b"f"), Some(false));
        assert_eq!(Question::Standby.answer(b"on"), None);
    }
}
