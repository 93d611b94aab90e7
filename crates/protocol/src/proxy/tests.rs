use proptest::prelude::*;

use super::*;

fn client(address: &str) -> ProxyHeader {
    ProxyHeader::Client(address.parse().unwrap())
}

/// A binary header.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

const ADDRESSES: &[u8] = &[10, 0, 0, 7, 10, 0, 0, 1, 0xc3, 0x50, 0x19, 0x20];

fn addresses_of_v6(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let mut body = source.octets().to_vec();
    body.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
    body.extend_from_slice(&[0xc3, 0x50, 0x19, 0x20]);
    body
}

#[test]
fn reads_lines_of_text() {
    for (line, expected) in [
        (
            "TCP4 10.0.0.7 10.0.0.1 50000 6432",
            client("10.0.0.7:50000"),
        ),
        (
            "TCP6 2001:db8::7 ::1 50000 6432",
            client("[2001:db8::7]:50000"),
        ),
        ("TCP6 ::ffff:10.0.0.7 ::1 1 2", client("10.0.0.7:1")),
        ("TCP4 0.0.0.0 255.255.255.255 0 65535", client("0.0.0.0:0")),
        ("UNKNOWN", ProxyHeader::Own),
        ("UNKNOWN ffff::1 whatever this is", ProxyHeader::Own),
    ] {
        let bytes = format!("PROXY {line}\r\nrest");
        let split = ProxyHeader::split(bytes.as_bytes());
        assert_eq!(split, Ok(Some((expected, &b"rest"[..]))), "{line}");
    }
}

#[test]
fn rejects_lines_that_are_not_as_they_should_be() {
    for line in [
        "PROXY TCP4 10.0.0.7 10.0.0.1 50000 6432\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 50000\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 50000 6432 \r\n",
        "PROXY TCP4  10.0.0.7 10.0.0.1 50000 6432\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 050 6432\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 +5 6432\r\n",
        "PROXY TCP4 10.0.0.7 10.0.0.1 65536 6432\r\n",
        "PROXY TCP4 10.0.0.07 10.0.0.1 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 10.0.0.7 10.0.0.1 1 2\r\n",
        "PROXY UDP4 10.0.0.7 10.0.0.1 1 2\r\n",
        "PROXY tcp4 10.0.0.7 10.0.0.1 1 2\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\n",
    ] {
        let split = ProxyHeader::split(line.as_bytes());
        assert_eq!(split, Err(ProxyError::Line), "{line:?}");
    }
    let endless = [WORD, &[b'x'; 200]].concat();
    assert_eq!(ProxyHeader::split(&endless), Err(ProxyError::Line));
    assert_eq!(ProxyHeader::split(&endless[..106]), Ok(None));
    assert_eq!(ProxyHeader::split(&endless[..107]), Err(ProxyError::Line));
}

#[test]
fn reads_binary_headers_and_skips_what_is_added() {
    // Two additions, one of them empty.
    let additions = b"\x01\0\x02h2\x04\0\0";
    for more in [&b""[..], additions] {
        let v4 = binary(PROXY, TCP4, &[ADDRESSES, more].concat());
        let expected = Ok(Some((client("10.0.0.7:50000"), &b""[..])));
        assert_eq!(ProxyHeader::split(&v4), expected);
        let v6 = [&addresses_of_v6("2001:db8::7"), more].concat();
        let v6 = binary(PROXY, TCP6, &v6);
        let expected = Ok(Some((client("[2001:db8::7]:50000"), &b""[..])));
        assert_eq!(ProxyHeader::split(&v6), expected);
        let unix = binary(PROXY, UNIX, &[&[0; 216], more].concat());
        let own = Ok(Some((ProxyHeader::Own, &b""[..])));
        assert_eq!(ProxyHeader::split(&unix), own);
        assert_eq!(ProxyHeader::split(&binary(LOCAL, 0x77, more)), own);
        assert_eq!(ProxyHeader::split(&binary(PROXY, 0, more)), own);
    }
    let mapped = binary(PROXY, TCP6, &addresses_of_v6("::ffff:10.0.0.7"));
    let (header, _) = ProxyHeader::split(&mapped).unwrap().unwrap();
    assert_eq!(header, client("10.0.0.7:50000"));
}

#[test]
fn rejects_binary_headers_that_say_what_cannot_be() {
    let split = |bytes: &[u8]| ProxyHeader::split(bytes).unwrap_err();
    for command in [0x00, 0x11, 0x22, 0x31] {
        let header = binary(command, TCP4, ADDRESSES);
        assert_eq!(split(&header), ProxyError::Command(command));
    }
    for family in [0x01, 0x10, 0x12, 0x13, 0x22, 0x32, 0x41] {
        let header = binary(PROXY, family, &[0; 216]);
        assert_eq!(split(&header), ProxyError::Family(family));
    }
    for (family, least) in [(TCP4, 12), (TCP6, 36), (UNIX, 216)] {
        let header = binary(PROXY, family, &vec![0; least - 1]);
        assert_eq!(split(&header), ProxyError::Length(16 + least - 1));
    }
    for additions in [&b"\x01"[..], b"\x01\0", b"\x01\0\x02h", b"\x04\0\0\x01"] {
        let header = binary(PROXY, TCP4, &[ADDRESSES, additions].concat());
        assert_eq!(split(&header), ProxyError::Additions);
    }
}

#[test]
fn rejects_a_header_that_is_too_long_before_it_has_come() {
    let header = binary(PROXY, TCP4, &[0; 4081]);
    let too_long = Err(ProxyError::Length(4097));
    assert_eq!(ProxyHeader::split(&header[..16]), too_long);
    let header = binary(LOCAL, 0, &[0; 4080]);
    assert_eq!(ProxyHeader::split(&header[..16]), Ok(None));
    assert!(ProxyHeader::split(&header).unwrap().is_some());
}

#[test]
fn rejects_anything_else_at_its_first_byte() {
    for bytes in [
        &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
        b"PROXI ",
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\n\0\r\nQUIT\r",
    ] {
        assert_eq!(ProxyHeader::split(bytes), Err(ProxyError::Missing));
    }
}

#[test]
fn waits_for_every_prefix_of_a_header() {
    for header in [
        b"PROXY TCP4 10.0.0.7 10.0.0.1 50000 6432\r\n".to_vec(),
        binary(PROXY, TCP4, &[ADDRESSES, b"\x04\0\x01x"].concat()),
    ] {
        for end in 0..header.len() {
            let prefix = ProxyHeader::split(&header[..end]);
            assert_eq!(prefix, Ok(None), "prefix of {end} bytes");
        }
    }
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes: Vec<u8>) {
        let _ = ProxyHeader::split(&bytes);
        let _ = ProxyHeader::split(&[WORD, &bytes].concat());
    }

    #[test]
    fn never_panics_on_any_body(command: u8, family: u8, body: Vec<u8>) {
        for family in [family, TCP4, TCP6, UNIX] {
            for command in [command, PROXY, LOCAL] {
                let header = binary(command, family, &body);
                if let Ok(split) = ProxyHeader::split(&header) {
                    prop_assert_eq!(split.map(|(_, rest)| rest), Some(&b""[..]));
                }
            }
        }
    }

    #[test]
    fn reads_the_address_in_either_version(address: SocketAddr) {
        prop_assume!(address.ip().to_canonical() == address.ip());
        let address = SocketAddr::new(address.ip(), address.port());
        let (word, family, octets) = match address.ip() {
            IpAddr::V4(ip) => ("TCP4", TCP4, [ip.octets(); 2].concat()),
            IpAddr::V6(ip) => ("TCP6", TCP6, [ip.octets(); 2].concat()),
        };
        let (ip, port) = (address.ip(), address.port());
        let line = format!("PROXY {word} {ip} {ip} {port} {port}\r\n");
        let ports = [port.to_be_bytes(); 2].concat();
        let expected = Ok(Some((ProxyHeader::Client(address), &b""[..])));
        prop_assert_eq!(ProxyHeader::split(line.as_bytes()), expected);
        let header = binary(PROXY, family, &[octets, ports].concat());
        prop_assert_eq!(ProxyHeader::split(&header), expected);
    }
}
