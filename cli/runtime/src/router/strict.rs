//! What a client's bytes must look like before anything else reads them.
//!
//! Two parsers that disagree about where a request ends let one client put words into another's mouth
//! (request smuggling). So nothing ambiguous passes here: RFC 9112's grammar without its leniences, one
//! `Content-Length` or one `Transfer-Encoding: chunked`, never both.

use super::limits::RouterLimits;
use hyper::StatusCode;

/// Why a request is refused before a dyno sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) cause: &'static str,
}

const fn bad(cause: &'static str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        cause,
    }
}

pub(super) const URI_TOO_LONG: Refusal = Refusal {
    status: StatusCode::URI_TOO_LONG,
    cause: "request line too long",
};
pub(super) const TOO_LARGE: Refusal = Refusal {
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    cause: "header too large",
};
pub(super) const SLOW_HEAD: Refusal = Refusal {
    status: StatusCode::REQUEST_TIMEOUT,
    cause: "incomplete header",
};
const VERSION: Refusal = Refusal {
    status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    cause: "unsupported HTTP version",
};
const CONNECT: Refusal = Refusal {
    status: StatusCode::METHOD_NOT_ALLOWED,
    cause: "CONNECT is not supported",
};

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// A complete head at the start of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes up to and with the empty line.
    pub(super) len: usize,
    pub(super) framing: Framing,
    /// The client asks for another protocol on this connection.
    pub(super) upgrade: bool,
}

/// Reads one head as its bytes come in; nothing is looked at twice.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    line: usize,
    at: usize,
    blank: u8,
    fields: usize,
    minor: Option<u8>,
    length: Option<u64>,
    chunked: bool,
    hosts: u8,
    upgrade: bool,
    connection: bool,
}

const fn tokens() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let c = byte as u8;
        table[byte] = c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
}

/// `tchar` of RFC 9110, 5.6.2.
static TOKEN: [bool; 256] = tokens();

pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| TOKEN[usize::from(byte)])
}

/// Visible, a space, a tab or beyond ASCII.
const fn is_text(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

impl HeadScan {
    /// Goes on with `held`, which begins where the head begins. `None`: more bytes are needed.
    pub(super) fn feed(
        &mut self,
        held: &[u8],
        limits: &RouterLimits,
    ) -> Result<Option<Head>, Refusal> {
        while let Some(offset) = held[self.at..].iter().position(|&byte| byte == b'\n') {
            let end = self.at + offset;
            let Some((b'\r', line)) = held[self.line..end].split_last() else {
                return Err(bad("bare line feed"));
            };
            self.at = end + 1;
            self.line = end + 1;
            if !line.is_empty() {
                if self.minor.is_none() {
                    self.request_line(line, limits)?;
                } else {
                    self.field(line, limits)?;
                }
                if self.at > limits.head {
                    return Err(TOO_LARGE);
                }
            } else if self.minor.is_some() {
                return self.finish(end + 1).map(Some);
            } else {
                // RFC 9112, 2.2: one empty line before a request is forgiven.
                self.blank += 1;
                if self.blank > 1 {
                    return Err(bad("empty request line"));
                }
            }
        }
        self.at = held.len();
        let unfinished = &held[self.line..];
        if self.minor.is_none() {
            // A TLS hello or other binary never sends the line end that would be waited for.
            if let Some(&first) = unfinished.first()
                && first != b'\r'
                && !TOKEN[usize::from(first)]
            {
                return Err(bad("bad request line"));
            }
            if unfinished.len() > limits.request_line {
                return Err(URI_TOO_LONG);
            }
        } else if unfinished.len() > limits.field_line || held.len() > limits.head {
            return Err(TOO_LARGE);
        }
        Ok(None)
    }

    fn request_line(&mut self, line: &[u8], limits: &RouterLimits) -> Result<(), Refusal> {
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("bad request line"));
        };
        if !is_token(method) || target.is_empty() {
            return Err(bad("bad request line"));
        }
        if line.len() > limits.request_line {
            return Err(URI_TOO_LONG);
        }
        self.minor = Some(match version {
            b"HTTP/1.1" => 1,
            b"HTTP/1.0" => 0,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(VERSION);
            }
            _ => return Err(bad("bad request line")),
        });
        if method == b"CONNECT" {
            return Err(CONNECT);
        }
        let known = target[0] == b'/'
            || target.starts_with(b"http://")
            || target.starts_with(b"https://")
            || (target == b"*" && method == b"OPTIONS");
        if known && target.iter().all(|&byte| byte > b' ' && byte != 0x7f) {
            Ok(())
        } else {
            Err(bad("bad request target"))
        }
    }

    fn field(&mut self, line: &[u8], limits: &RouterLimits) -> Result<(), Refusal> {
        if line.len() > limits.field_line {
            return Err(TOO_LARGE);
        }
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(TOO_LARGE);
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(bad("folded header"));
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return Err(bad("bad header"));
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) || !value.iter().all(|&byte| is_text(byte)) {
            return Err(bad("bad header"));
        }
        let value = value.trim_ascii();
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection |= value
                    .split(|&byte| byte == b',')
                    .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(bad("bad transfer-encoding"));
                }
                self.chunked = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.hosts += 1;
        // `host` and `port` of RFC 3986: everything else belongs to another part of an address.
        let allowed =
            |&byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte);
        if self.hosts > 1 || value.is_empty() || !value.iter().all(allowed) {
            return Err(bad("bad host"));
        }
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if self.length.is_some() || !digits {
            return Err(bad("bad content-length"));
        }
        self.length = Some(
            value
                .iter()
                .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')),
        );
        Ok(())
    }

    fn finish(&self, len: usize) -> Result<Head, Refusal> {
        let first = self.minor == Some(0);
        if self.hosts == 0 && !first {
            return Err(bad("no host"));
        }
        if self.chunked && (self.length.is_some() || first) {
            return Err(bad("bad transfer-encoding"));
        }
        Ok(Head {
            len,
            framing: if self.chunked {
                Framing::Chunked
            } else {
                Framing::Length(self.length.unwrap_or(0))
            },
            upgrade: self.upgrade && self.connection && !first,
        })
    }
}

/// Where a chunked body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size { digits: u8 },
    Extension { len: u16 },
    SizeEnd,
    Data,
    DataReturn,
    DataEnd,
    LineStart,
    Trailer,
    TrailerEnd,
    LastEnd,
    Done,
}

/// Checks a chunked body (RFC 9112, 7.1) without changing it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkScan {
    at: Chunk,
    size: u64,
    trailers: u16,
}

const MOST_EXTENSION: u16 = 256;
const MOST_TRAILERS: u16 = 8192;

impl ChunkScan {
    pub(super) const fn new() -> Self {
        Self {
            at: Chunk::Size { digits: 0 },
            size: 0,
            trailers: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == Chunk::Done
    }

    /// How many of `bytes` belong to this body.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut used = 0;
        while used < bytes.len() && self.at != Chunk::Done {
            if self.at == Chunk::Data {
                let rest = u64::try_from(bytes.len() - used).unwrap_or(u64::MAX);
                let step = rest.min(self.size);
                self.size -= step;
                used += usize::try_from(step).unwrap_or(bytes.len() - used);
                if self.size == 0 {
                    self.at = Chunk::DataReturn;
                }
            } else {
                self.at = self.step(bytes[used])?;
                used += 1;
            }
        }
        Ok(used)
    }

    fn step(&mut self, byte: u8) -> Result<Chunk, Refusal> {
        match (self.at, byte) {
            (Chunk::Size { digits }, _) if digits < 16 && byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.size = (self.size << 4) | u64::from(digit);
                Ok(Chunk::Size { digits: digits + 1 })
            }
            (Chunk::Size { digits: 1.. } | Chunk::Extension { .. }, b'\r') => Ok(Chunk::SizeEnd),
            (Chunk::Size { digits: 1.. }, b';') => Ok(Chunk::Extension { len: 1 }),
            (Chunk::Extension { len }, _) if is_text(byte) && len < MOST_EXTENSION => {
                Ok(Chunk::Extension { len: len + 1 })
            }
            (Chunk::SizeEnd, b'\n') if self.size == 0 => Ok(Chunk::LineStart),
            (Chunk::SizeEnd, b'\n') => Ok(Chunk::Data),
            (Chunk::DataReturn, b'\r') => Ok(Chunk::DataEnd),
            (Chunk::DataEnd, b'\n') => Ok(Chunk::Size { digits: 0 }),
            (Chunk::LineStart, b'\r') => Ok(Chunk::LastEnd),
            (Chunk::LastEnd, b'\n') => Ok(Chunk::Done),
            (Chunk::LineStart, _) if TOKEN[usize::from(byte)] => self.trailer(),
            (Chunk::Trailer, b'\r') => Ok(Chunk::TrailerEnd),
            (Chunk::Trailer, _) if is_text(byte) => self.trailer(),
            (Chunk::TrailerEnd, b'\n') => Ok(Chunk::LineStart),
            _ => Err(bad("bad chunk")),
        }
    }

    fn trailer(&mut self) -> Result<Chunk, Refusal> {
        self.trailers += 1;
        if self.trailers > MOST_TRAILERS {
            return Err(TOO_LARGE);
        }
        Ok(Chunk::Trailer)
    }
}
