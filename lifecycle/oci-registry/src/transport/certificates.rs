//! Certificates that a registry is trusted by, and that it trusts us by.

use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::client::{ClientError, Options};

/// A certificate with its key, to show to registries that ask for one. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and those that vouch for it, in PEM.
    pub certificates: Vec<u8>,
    /// The private key, in PEM.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Identity(…)")
    }
}

pub(crate) fn tls(options: &Options) -> Result<TlsConfig, ClientError> {
    let roots = if options.authorities.is_empty() {
        RootCerts::PlatformVerifier
    } else {
        let mut roots = Vec::new();
        for pem in &options.authorities {
            let before = roots.len();
            roots.extend(certificates(pem));
            if roots.len() == before {
                return Err(ClientError::Authorities);
            }
        }
        RootCerts::from(roots)
    };
    let identity = options.identity.as_ref().map(client_certificate);
    Ok(TlsConfig::builder()
        .root_certs(roots)
        .client_cert(identity.transpose()?)
        .build())
}

/// What in a bundle is no certificate is passed over, as everybody does.
fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect()
}

fn client_certificate(identity: &Identity) -> Result<ClientCert, ClientError> {
    let chain = certificates(&identity.certificates);
    let key = parse_pem(&identity.key).find_map(|item| match item {
        Ok(PemItem::PrivateKey(key)) => Some(key),
        _ => None,
    });
    match key {
        Some(key) if !chain.is_empty() => Ok(ClientCert::new_with_certs(&chain, key)),
        _ => Err(ClientError::Identity),
    }
}
