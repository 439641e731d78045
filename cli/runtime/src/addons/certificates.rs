//! Certificates of a Kafka cluster: who has the client's reaches it, nobody else (Heroku Dev Center,
//! "Apache Kafka on Heroku", "Connecting to a Kafka cluster").

use super::error::AddonError;
use crate::state::files;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a tool's own [`Certificates::write`] files are, inside.
pub(super) const FOLDER: &str = "/etc/kafka";

/// How long they are valid: as long as a cluster lives, for nobody renews them. In years.
const YEARS: i32 = 30;

/// What the two sides of a cluster's connections show each other, in PEM. Not `Debug`: it has keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// The authority's certificate; its key is nowhere.
    pub(super) authority: String,
    server: Side,
    pub(super) client: Side,
}

/// One side's certificate, with its key (PKCS #8).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Side {
    /// As Kafka's key stores of the type PEM have it (KIP-651).
    fn key_store(&self) -> String {
        format!("{}{}", self.key, self.certificate)
    }
}

impl Certificates {
    /// Makes new ones, for a server on 127.0.0.1.
    pub(super) fn make(now: jiff::Timestamp) -> Result<Self, AddonError> {
        make(now).map_err(|source| AddonError::Certificates { source })
    }

    /// What the server's folder gets: the key store and whom it trusts.
    pub(super) fn of_server(&self) -> [String; 2] {
        [self.server.key_store(), self.authority.clone()]
    }

    /// Puts what Kafka's tools need into a folder of its own; others cannot read it. The files, on
    /// the host and inside.
    pub(super) fn write(&self, folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>, AddonError> {
        let client = format!(
            "\
security.protocol=SSL
ssl.keystore.type=PEM
ssl.keystore.location={FOLDER}/client.pem
ssl.truststore.type=PEM
ssl.truststore.location={FOLDER}/authority.pem
"
        );
        files::private_folder(folder)?;
        let key_store = self.client.key_store();
        let mut written = Vec::new();
        for (name, text) in [
            ("client.properties", &client),
            ("client.pem", &key_store),
            ("authority.pem", &self.authority),
        ] {
            let path = folder.join(name);
            files::replace_text(&path, text)?;
            written.push((path, Path::new(FOLDER).join(name)));
        }
        Ok(written)
    }

    /// A connection to the server on this port, as its client.
    pub(super) fn connect(
        &self,
        stream: TcpStream,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let broken = |error: rustls::pki_types::pem::Error| io::Error::other(error);
        let mut roots = RootCertStore::empty();
        let authority =
            CertificateDer::from_pem_slice(self.authority.as_bytes()).map_err(broken)?;
        roots.add(authority).map_err(io::Error::other)?;
        let own =
            CertificateDer::from_pem_slice(self.client.certificate.as_bytes()).map_err(broken)?;
        let key = PrivateKeyDer::from_pem_slice(self.client.key.as_bytes()).map_err(broken)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![own], key)
            .map_err(io::Error::other)?;
        let server = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let connection =
            ClientConnection::new(Arc::new(config), server).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

fn make(now: jiff::Timestamp) -> Result<Certificates, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params("slugc Kafka authority", now, Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    Ok(Certificates {
        authority,
        server: side("localhost", now, names, &issuer)?,
        client: side("client", now, Vec::new(), &issuer)?,
    })
}

fn side(
    name: &str,
    now: jiff::Timestamp,
    names: Vec<String>,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<Side, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params(name, now, names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // The broker is a client of its controller.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(Side {
        certificate: params.signed_by(&key, issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

fn params(
    name: &str,
    now: jiff::Timestamp,
    names: Vec<String>,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let year = i32::from(now.to_zoned(jiff::tz::TimeZone::UTC).year());
    // A clock that is a little behind, here or in a dyno, does no harm.
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
    Ok(params)
}
