//! Names looked up once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Remembers addresses for as long as a client lives.
///
/// ureq asks for the address before each request, also where a connection is open already. A push takes dozens of
/// requests to one host, and one lost DNS packet among them costs five seconds. The stack's bootstrap has the same for
/// its downloads: what the two share is this file, and too little for a crate of its own.
#[derive(Debug, Default)]
pub(crate) struct RememberingResolver {
    system: DefaultResolver,
    known: Mutex<HashMap<String, ResolvedSocketAddrs>>,
}

impl Resolver for RememberingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let key = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |host| host.as_str())
        );
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = known().get(&key) {
            return Ok(addresses.clone());
        }
        // Not held while asking: a storage host that does not answer must not stop requests to the registry.
        let addresses = self.system.resolve(uri, config, timeout)?;
        known().insert(key, addresses.clone());
        Ok(addresses)
    }
}
