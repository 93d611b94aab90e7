//! The `settings!` macro: one declaration, and everything that follows from it.
//!
//! From one row of the table come the field of [`Settings`](crate::Settings),
//! its parser and printer, the row of `SHOW CONFIG`, the line of the sample
//! file and the paragraph of the reference.

/// What is known about a setting, for `SHOW CONFIG` and the documents.
#[derive(Clone, Copy, Debug)]
pub struct SettingInfo {
    /// Name in the file and on the console.
    pub name: &'static str,
    /// Heading under which the documents list it.
    pub group: &'static str,
    /// Default, as it would be written in the file.
    pub default: &'static str,
    /// One word for its kind, such as `seconds`.
    pub kind: &'static str,
    /// What a value has to be, such as `a time in seconds`.
    pub expected: &'static str,
    /// When a change takes effect.
    pub takes_effect: When,
    /// The reference text, one to three sentences.
    pub text: &'static str,
    /// What of it is built.
    pub status: Status,
}

/// When a change of a setting takes effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// When the configuration is read again.
    Now,
    /// When the console's RESTART replaces the group, or pgskein is started
    /// again.
    Restart,
    /// When pgskein is stopped and started again.
    Start,
}

/// How much of a setting is built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// All of it.
    Supported,
    /// Nothing: it may only have its default.
    OnlyDefault,
    /// It can have no meaning here, for this reason; it is accepted with a
    /// warning.
    Obsolete(&'static str),
}

/// Why a setting could not be set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SetError {
    /// There is no such setting.
    Unknown,
    /// The value is none of its kind; this is expected.
    Value(&'static str),
}

/// Declares all settings: groups of rows
/// `/// text` `name: Kind = "default", When, Status;`.
macro_rules! settings {
    ($(
        $group:literal {$(
            $(#[doc = $text:literal])+
            $name:ident : $kind:ident = $default:literal, $when:ident, $status:expr;
        )+}
    )+) => {
        /// Every setting with its value.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {$($(
            $(#[doc = $text])+
            pub $name: <$kind as Kind>::Value,
        )+)+}

        impl Default for Settings {
            fn default() -> Self {
                Self {$($(
                    // A default that is no value is found by a test.
                    $name: $kind::parse($default).unwrap_or_default(),
                )+)+}
            }
        }

        impl Settings {
            /// The value of the setting `name` as `SHOW CONFIG` prints it.
            pub fn value(&self, name: &str) -> Option<String> {
                match name {
                    $($( stringify!($name) => Some($kind::print(&self.$name)), )+)+
                    _ => None,
                }
            }

            /// Sets `name` to the value that is written as `text`.
            pub(crate) fn set(&mut self, name: &str, text: &str) -> Result<(), SetError> {
                match name {
                    $($( stringify!($name) => {
                        self.$name =
                            $kind::parse(text).ok_or(SetError::Value($kind::EXPECTED))?;
                    } )+)+
                    _ => return Err(SetError::Unknown),
                }
                Ok(())
            }

            /// Gives `name` the value that it has in `other`; returns whether
            /// that is another one.
            pub(crate) fn copy(&mut self, name: &str, other: &Self) -> bool {
                match name {
                    $($( stringify!($name) => {
                        let differs = self.$name != other.$name;
                        self.$name.clone_from(&other.$name);
                        differs
                    } )+)+
                    _ => false,
                }
            }
        }

        /// Every setting, in the order of the documents.
        static TABLE: &[SettingInfo] = &[$($(
            SettingInfo {
                name: stringify!($name),
                group: $group,
                default: $default,
                kind: <$kind as Kind>::NAME,
                expected: <$kind as Kind>::EXPECTED,
                takes_effect: When::$when,
                text: concat!($($text),+).trim_ascii(),
                status: $status,
            },
        )+)+];
    };
}
pub(crate) use settings;
