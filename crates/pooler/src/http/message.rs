//! What is asked over HTTP, and the answers as bytes.
//!
//! One request for each connection, which ends with the answer. Whatever a
//! request brings with it beside method and path is read over.
//!
//! Source: RFC 9110, RFC 9112.

use httparse::{EMPTY_HEADER, Request, Status};

use super::health::Verdict;

/// What a whole request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    pub what: What,
    /// Only the head of the answer is wanted.
    pub head_only: bool,
}

/// What is to be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    /// Whether new clients should come.
    Ready,
    /// Whether anything turns.
    Live,
    /// There is nothing under this path.
    NotFound,
    /// Nothing can be changed here.
    NotAllowed,
    /// It is no HTTP.
    Garbage,
    /// Its head does not end.
    TooLarge,
}

impl Asked {
    /// Understands what was received so far; `None` while it is not whole.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut request = Request::new(&mut headers);
        let refused = |what| {
            let head_only = false;
            Some(Self { what, head_only })
        };
        match request.parse(bytes) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) if bytes.len() >= LONGEST => return refused(What::TooLarge),
            Ok(Status::Partial) => return None,
            Err(httparse::Error::TooManyHeaders) => return refused(What::TooLarge),
            Err(_) => return refused(What::Garbage),
        }
        let head_only = request.method == Some("HEAD");
        let path = request.path.unwrap_or_default();
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let what = match (request.method, path) {
            (Some("GET" | "HEAD"), "/ready") => What::Ready,
            (Some("GET" | "HEAD"), "/live") => What::Live,
            (Some("GET" | "HEAD"), _) => What::NotFound,
            _ => What::NotAllowed,
        };
        Some(Self { what, head_only })
    }
}

/// The answer that says how the group is.
pub(crate) fn verdict(verdict: &Verdict, head_only: bool) -> Vec<u8> {
    let status = if verdict.good { OK } else { UNAVAILABLE };
    answer(status, "", &verdict.why, head_only)
}

/// The answer to what asks for nothing that there is.
pub(crate) fn refusal(what: What, head_only: bool) -> Vec<u8> {
    match what {
        What::NotAllowed => answer(
            "405 Method Not Allowed",
            "Allow: GET, HEAD\r\n",
            "only GET and HEAD",
            head_only,
        ),
        What::Garbage => answer("400 Bad Request", "", "this is no HTTP request", head_only),
        What::TooLarge => answer(
            "431 Request Header Fields Too Large",
            "",
            "too long",
            head_only,
        ),
        What::Ready | What::Live | What::NotFound => {
            answer("404 Not Found", "", "there are /ready and /live", head_only)
        }
    }
}

fn answer(status: &str, header: &str, why: &str, head_only: bool) -> Vec<u8> {
    let length = why.len() + 1;
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\n{header}Connection: close\r\n\r\n"
    );
    if !head_only {
        text.push_str(why);
        text.push('\n');
    }
    text.into_bytes()
}

/// Longest head of a request, in bytes.
pub(crate) const LONGEST: usize = 8 * 1024;

/// Most headers of a request.
const MOST_HEADERS: usize = 64;

const OK: &str = "200 OK";
const UNAVAILABLE: &str = "503 Service Unavailable";

#[cfg(test)]
mod tests {
    use super::*;

    fn what(bytes: &[u8]) -> What {
        Asked::of(bytes).unwrap().what
    }

    #[test]
    fn knows_what_is_asked_for() {
        for (request, expected) in [
            (&b"GET /ready HTTP/1.0\r\n\r\n"[..], What::Ready),
            (
                b"GET /ready?verbose HTTP/1.1\r\nHost: a\r\n\r\n",
                What::Ready,
            ),
            (b"HEAD /live HTTP/1.1\r\nHost: a\r\n\r\n", What::Live),
            (b"GET / HTTP/1.1\r\n\r\n", What::NotFound),
            (b"GET /readyz HTTP/1.1\r\n\r\n", What::NotFound),
            (
                b"POST /ready HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
                What::NotAllowed,
            ),
            (b"OPTIONS /ready HTTP/1.0\r\n\r\n", What::NotAllowed),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", What::Garbage),
            (b"GET /ready HTTP/9.9\r\n\r\n", What::Garbage),
            (b"\x16\x03\x01\x02\x00\x01", What::Garbage),
        ] {
            assert_eq!(what(request), expected, "{}", request.escape_ascii());
        }
        assert!(
            Asked::of(b"HEAD /ready HTTP/1.1\r\n\r\n")
                .unwrap()
                .head_only
        );
    }

    #[test]
    fn waits_for_every_prefix_of_a_request() {
        let request = b"GET /ready HTTP/1.1\r\nHost: db1\r\nAccept: */*\r\n\r\n";
        for end in 0..request.len() {
            assert_eq!(Asked::of(&request[..end]), None, "prefix of {end} bytes");
        }
    }

    #[test]
    fn rejects_a_head_that_does_not_end() {
        let mut request = b"GET /ready HTTP/1.1\r\nX: ".to_vec();
        request.resize(LONGEST - 1, b'x');
        assert_eq!(Asked::of(&request), None);
        request.push(b'x');
        assert_eq!(what(&request), What::TooLarge);
        let mut request = b"GET /ready HTTP/1.1\r\n".to_vec();
        request.extend(b"X: y\r\n".repeat(MOST_HEADERS + 1));
        request.extend(b"\r\n");
        assert_eq!(what(&request), What::TooLarge);
    }

    #[test]
    fn writes_one_line_that_says_why_and_none_to_head() {
        let draining = Verdict {
            good: false,
            why: "draining".to_owned(),
        };
        let text = String::from_utf8(verdict(&draining, false)).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
             Content-Length: 9\r\nCache-Control: no-store\r\nConnection: close\r\n\r\ndraining\n"
        );
        let head = String::from_utf8(verdict(&draining, true)).unwrap();
        assert_eq!(head, text.strip_suffix("draining\n").unwrap());
        let refused = refusal(What::NotAllowed, false);
        assert!(refused.starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n"));
    }
}
