//! Whether a registry takes the credentials: `GET /v2/`, as `docker login` asks (distribution-spec, "Determining
//! Support", with the token flow).

use std::sync::atomic::AtomicBool;

use ureq::http::Method;

use crate::client::{Call, Client, Target};
use crate::transport::error::RequestError;
use crate::transport::exchange::{Body, read_small};

impl Client {
    /// Asks the registry, or its token server, with the client's credentials. A registry that wants none takes any.
    pub fn check_credentials(&self) -> Result<(), RequestError> {
        let operation = "check the login";
        let cancelled = AtomicBool::new(false);
        self.persist("", operation, &cancelled, || {
            let home = self.home()?.clone();
            let mut answer = self.attempt(&Call {
                repository: "",
                operation,
                method: Method::GET,
                target: Target::Given(&home),
                headers: &[],
                body: Body::None,
                receives: 0,
                scopes: &[],
                expected: &[],
                cancelled: &cancelled,
            })?;
            read_small(&mut answer.response);
            Ok(())
        })
    }
}
