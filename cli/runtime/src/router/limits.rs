//! Times and sizes the router keeps to; the defaults are Heroku's.

use std::time::Duration;

/// Every time and size that the router enforces.
///
/// Source of the defaults: Heroku's articles `http-routing`, `request-timeout` and `error-codes`; the
/// router's limits of request lines and fields are those of its open predecessor, vegur. Where Heroku
/// publishes no number the field says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterLimits {
    /// For a TCP connection to a dyno (H19).
    pub connect: Duration,
    /// From the end of the request to the first byte of the answer (H12).
    pub first_byte: Duration,
    /// Between two bytes in either direction afterwards (H15, H28).
    pub idle: Duration,
    /// A request waits this long for a booting dyno (H20).
    pub boot: Duration,
    /// A dyno that could not be connected to is left alone this long.
    pub quarantine: Duration,
    /// An unused connection to a dyno is kept this long. Short, because application servers close theirs
    /// after two to five seconds and a new one costs little on one machine.
    pub upstream_idle: Duration,
    /// Unused connections kept for each dyno by each thread: as many as requests may end at once, or those
    /// that follow pay for new ones.
    pub upstream_spare: usize,
    /// An unused connection of a client is kept this long (not published).
    pub client_idle: Duration,
    /// A client may take this long for the head of one request (not published).
    pub head_time: Duration,
    /// After the last byte to a client what it still sends is thrown away this long, so that a reset does
    /// not destroy the answer on its way (RFC 9112, 9.6).
    pub linger: Duration,
    /// How long `Router::stop` waits for running requests.
    pub stop: Duration,
    /// Bytes of a request line (414).
    pub request_line: usize,
    /// Bytes of one header field of a request (431).
    pub field_line: usize,
    /// Bytes of a whole request head (431; not published).
    pub head: usize,
    /// Header fields of a request (431).
    pub fields: usize,
    /// Bytes of a status line's reason (H25).
    pub status_line: usize,
    /// Bytes of one `Set-Cookie` of an answer (H25).
    pub cookie: usize,
    /// Threads that serve connections.
    pub threads: usize,
}

impl Default for RouterLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(55),
            boot: Duration::from_secs(75),
            quarantine: Duration::from_secs(5),
            upstream_idle: Duration::from_secs(5),
            upstream_spare: 256,
            client_idle: Duration::from_secs(75),
            head_time: Duration::from_secs(30),
            linger: Duration::from_secs(1),
            stop: Duration::from_secs(30),
            request_line: 8192,
            field_line: 8192,
            head: 64 * 1024,
            fields: 100,
            status_line: 8192,
            cookie: 8192,
            threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)),
        }
    }
}
