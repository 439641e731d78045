//! The router alone, before dynos that run already: what `tests/bench/router` measures.
//!
//! `router PORT DYNO…`: listens on 127.0.0.1:PORT, sends requests to the addresses, logs to standard
//! output, ends with its standard input.

use slug_runtime::router::{Backends, Router, RouterInputs, RouterLimits};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("router PORT DYNO…")?.parse()?;
    let backends = Backends::new();
    for (index, address) in arguments.enumerate() {
        let id = backends.add(&format!("web.{}", index + 1), address.parse()?);
        backends.set_ready(id);
    }
    let out = Mutex::new(io::BufWriter::with_capacity(64 * 1024, io::stdout()));
    let log = move |line: &[u8]| {
        // A reader that went away costs the log, not the requests.
        if let Ok(mut out) = out.lock() {
            drop(out.write_all(line).and_then(|()| out.write_all(b"\n")));
        }
    };
    let router = Router::start(RouterInputs {
        listeners: vec![TcpListener::bind(("127.0.0.1", port))?],
        backends,
        log: Arc::new(log),
        limits: RouterLimits::default(),
    })?;
    io::stdin().read_to_end(&mut Vec::new())?;
    router.stop();
    Ok(())
}
