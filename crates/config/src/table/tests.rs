use std::collections::BTreeSet;

use super::*;

#[test]
fn prints_every_default_as_the_table_writes_it() {
    let settings = Settings::default();
    for setting in table() {
        assert_eq!(
            settings.value(setting.name).as_deref(),
            Some(setting.default),
            "{}",
            setting.name
        );
    }
}

#[test]
fn declares_every_name_once() {
    let names: BTreeSet<_> = table().iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), table().len());
}

#[test]
fn accepts_the_values_that_it_says_are_built() {
    for setting in table() {
        let Partly(values) = setting.status else {
            continue;
        };
        for value in values {
            assert_eq!(
                Settings::default().set(setting.name, value),
                Ok(()),
                "{value}"
            );
        }
    }
}
