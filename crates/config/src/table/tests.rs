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
