//! The router's own answers and its log lines, in Heroku's words and format.

use super::limits::RouterLimits;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use std::io::Write;
use std::time::Duration;

/// Heroku's error codes of requests (Dev Center, `error-codes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    H10,
    H12,
    H13,
    H14,
    H15,
    H17,
    H18,
    H19,
    H20,
    H21,
    /// The answer is beyond a limit: which.
    H25(&'static str),
    /// The request was refused: why and how.
    H26(&'static str, StatusCode),
    H27,
    H28,
    H80,
    H99,
}

impl Code {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::H10 => "H10",
            Self::H12 => "H12",
            Self::H13 => "H13",
            Self::H14 => "H14",
            Self::H15 => "H15",
            Self::H17 => "H17",
            Self::H18 => "H18",
            Self::H19 => "H19",
            Self::H20 => "H20",
            Self::H21 => "H21",
            Self::H25(_) => "H25",
            Self::H26(..) => "H26",
            Self::H27 => "H27",
            Self::H28 => "H28",
            Self::H80 => "H80",
            Self::H99 => "H99",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::H10 => "App crashed",
            Self::H12 => "Request timeout",
            Self::H13 => "Connection closed without response",
            Self::H14 => "No web processes running",
            Self::H15 => "Idle connection",
            Self::H17 => "Poorly formatted HTTP response",
            Self::H18 => "Server Request Interrupted",
            Self::H19 => "Backend connection timeout",
            Self::H20 => "App boot timeout",
            Self::H21 => "Backend connection refused",
            Self::H25(_) => "HTTP restriction",
            Self::H26(..) => "Request Error",
            Self::H27 => "Client Request Interrupted",
            Self::H28 => "Client Connection Idle",
            Self::H80 => "Maintenance mode",
            Self::H99 => "Platform error",
        }
    }

    fn level(self) -> &'static str {
        match self {
            Self::H27 | Self::H80 => "info",
            Self::H28 => "warning",
            _ => "error",
        }
    }

    /// What the client is told, or the log where nobody can be told any more.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::H25(_) => StatusCode::BAD_GATEWAY,
            Self::H26(_, status) => status,
            // 499 of nginx, which Heroku's log uses: the client did not wait.
            Self::H27 | Self::H28 => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A page of its own.
    pub(super) fn page(self) -> Response<String> {
        let (title, text) = match self {
            Self::H80 => (
                "Offline for Maintenance",
                "This application is undergoing maintenance right now. Please check back later.",
            ),
            Self::H26(cause, _) => ("Bad request", cause),
            _ => (
                "Application error",
                "An error occurred in the application and your page could not be served. If you are \
                 the application's owner, see why with <code>slugc logs --tail</code>.",
            ),
        };
        let mut page = Response::new(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <style>body{{font:1rem/1.5 sans-serif;max-width:36rem;margin:20vh auto;padding:0 1rem;\
             text-align:center}}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{text}</p>\n</body>\n\
             </html>\n"
        ));
        *page.status_mut() = self.status();
        let fields = page.headers_mut();
        fields.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        fields.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-store"),
        );
        if matches!(self, Self::H26(..)) {
            // What follows such a request is not worth reading.
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        page
    }
}

/// What one request's log line says. Empty strings stay empty, as on Heroku.
#[derive(Debug, Default)]
pub(super) struct Line<'a> {
    pub(super) code: Option<Code>,
    pub(super) method: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) request_id: &'a [u8],
    pub(super) fwd: &'a [u8],
    pub(super) dyno: &'a str,
    pub(super) connect: Option<Duration>,
    pub(super) service: Option<Duration>,
    pub(super) status: u16,
    pub(super) bytes: Option<u64>,
}

impl Line<'_> {
    /// Heroku's line without its date and `heroku[router]:`. Whatever a client sent is one word in it:
    /// quotes, backslashes, blanks, controls and bytes beyond ASCII stand as `%XX`.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.path.len());
        match self.code {
            None => out.extend_from_slice(b"at=info method="),
            Some(code) => {
                // Writing into a Vec cannot fail.
                drop(write!(
                    out,
                    "at={} code={} desc=\"{}",
                    code.level(),
                    code.name(),
                    code.description()
                ));
                match code {
                    Code::H25(what) => drop(write!(out, ": {what}\" method=")),
                    Code::H26(cause, _) => drop(write!(out, "\" cause=\"{cause}\" method=")),
                    _ => out.extend_from_slice(b"\" method="),
                }
            }
        }
        escape(&mut out, self.method);
        out.extend_from_slice(b" path=\"");
        escape(&mut out, self.path);
        out.extend_from_slice(b"\" host=");
        escape(&mut out, self.host);
        out.extend_from_slice(b" request_id=");
        escape(&mut out, self.request_id);
        out.extend_from_slice(b" fwd=\"");
        escape(&mut out, self.fwd);
        out.extend_from_slice(b"\" dyno=");
        out.extend_from_slice(self.dyno.as_bytes());
        out.extend_from_slice(b" connect=");
        milliseconds(&mut out, self.connect);
        out.extend_from_slice(b" service=");
        milliseconds(&mut out, self.service);
        drop(write!(out, " status={} bytes=", self.status));
        if let Some(bytes) = self.bytes {
            drop(write!(out, "{bytes}"));
        }
        out.extend_from_slice(b" protocol=http");
        out
    }
}

fn milliseconds(out: &mut Vec<u8>, time: Option<Duration>) {
    if let Some(time) = time {
        drop(write!(out, "{}ms", time.as_millis()));
    }
}

fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'"' && byte != b'\\' {
            out.push(byte);
        } else {
            drop(write!(out, "%{byte:02X}"));
        }
    }
}

/// Whether a dyno's answer keeps to Heroku's limits.
pub(super) fn within_limits<B>(answer: &Response<B>, limits: &RouterLimits) -> Result<(), Code> {
    let reason = answer.extensions().get::<hyper::ext::ReasonPhrase>();
    if reason.is_some_and(|reason| reason.as_bytes().len() > limits.status_line) {
        return Err(Code::H25("oversized status line"));
    }
    let cookies = answer.headers().get_all(hyper::header::SET_COOKIE);
    if cookies.iter().any(|cookie| cookie.len() > limits.cookie) {
        return Err(Code::H25("oversized cookies"));
    }
    Ok(())
}
