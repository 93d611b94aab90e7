//! Filters as they are sent.
//!
//! Source: RFC 4511, "SearchRequest.filter".

use pgskein_config::{LdapFilter, LdapValue};
use pgskein_protocol::ldap::Writer;

/// Appends a filter with the name of this user in it.
pub(super) fn write(filter: &LdapFilter, user: &str, out: &mut Writer<'_>) {
    match filter {
        LdapFilter::And(filters) => out.nest(AND, |out| write_all(filters, user, out)),
        LdapFilter::Or(filters) => out.nest(OR, |out| write_all(filters, user, out)),
        LdapFilter::Not(filter) => out.nest(NOT, |out| write(filter, user, out)),
        LdapFilter::Equal(attribute, value) => assert(EQUAL, attribute, value, user, out),
        LdapFilter::AtLeast(attribute, value) => assert(AT_LEAST, attribute, value, user, out),
        LdapFilter::AtMost(attribute, value) => assert(AT_MOST, attribute, value, user, out),
        LdapFilter::Approximately(attribute, value) => {
            assert(APPROXIMATELY, attribute, value, user, out);
        }
        LdapFilter::Present(attribute) => out.bytes(PRESENT, attribute.as_bytes()),
        LdapFilter::Substrings {
            attribute,
            initial,
            any,
            last,
        } => out.nest(SUBSTRINGS, |out| {
            out.bytes(OCTETS, attribute.as_bytes());
            out.nest(SEQUENCE, |out| {
                let any = any.iter().map(|value| (ANY, value));
                let initial = initial.iter().map(|value| (INITIAL, value));
                let last = last.iter().map(|value| (LAST, value));
                for (tag, value) in initial.chain(any).chain(last) {
                    out.bytes(tag, &value.of(user));
                }
            });
        }),
        LdapFilter::Extensible {
            attribute,
            rule,
            value,
            of_name,
        } => out.nest(EXTENSIBLE, |out| {
            for (tag, name) in [(RULE, rule), (TYPE, attribute)] {
                if !name.is_empty() {
                    out.bytes(tag, name.as_bytes());
                }
            }
            out.bytes(VALUE, &value.of(user));
            if *of_name {
                out.boolean(OF_NAME, true);
            }
        }),
    }
}

fn write_all(filters: &[LdapFilter], user: &str, out: &mut Writer<'_>) {
    for filter in filters {
        write(filter, user, out);
    }
}

fn assert(tag: u8, attribute: &str, value: &LdapValue, user: &str, out: &mut Writer<'_>) {
    out.nest(tag, |out| {
        out.bytes(OCTETS, attribute.as_bytes());
        out.bytes(OCTETS, &value.of(user));
    });
}

const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUAL: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const AT_LEAST: u8 = 0xa5;
const AT_MOST: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const APPROXIMATELY: u8 = 0xa8;
const EXTENSIBLE: u8 = 0xa9;

/// Tags of the parts of substrings.
const INITIAL: u8 = 0x80;
const ANY: u8 = 0x81;
const LAST: u8 = 0x82;

/// Tags of what a rule is asked.
const RULE: u8 = 0x81;
const TYPE: u8 = 0x82;
const VALUE: u8 = 0x83;
const OF_NAME: u8 = 0x84;
