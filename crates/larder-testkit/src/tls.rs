//! Certificates made for one test.

use crate::dirs;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A certificate authority, a server and a client certificate of it, and a second authority that has signed neither; PEM files in a directory
/// that goes when this is dropped. All are valid for centuries.
#[derive(Debug)]
pub struct TlsFiles {
    dir: TempDir,
    paths: [PathBuf; 6],
}

impl TlsFiles {
    /// The server's certificate is for these host names and IP addresses, and for no other.
    ///
    /// # Panics
    /// Where a name is no host name.
    #[must_use]
    pub fn generate<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let (ca, issuer) = authority("larder-testkit CA");
        let (other_ca, _) = authority("larder-testkit unrelated CA");
        let (cert, key) = signed(&issuer, names, "server", ExtendedKeyUsagePurpose::ServerAuth);
        let (client_cert, client_key) =
            signed(&issuer, Vec::new(), "client", ExtendedKeyUsagePurpose::ClientAuth);
        let dir = dirs::temporary("tls");
        let contents = [
            ("ca.pem", ca),
            ("server.pem", cert),
            ("server-key.pem", key),
            ("client.pem", client_cert),
            ("client-key.pem", client_key),
            ("other-ca.pem", other_ca),
        ];
        let paths = contents.map(|(name, pem)| {
            let path = dir.path().join(name);
            std::fs::write(&path, pem).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
            path
        });
        Self { dir, paths }
    }

    /// The directory of the files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The authority that signed both certificates.
    #[must_use]
    pub fn ca(&self) -> &Path {
        &self.paths[0]
    }

    /// The server's certificate.
    #[must_use]
    pub fn cert(&self) -> &Path {
        &self.paths[1]
    }

    /// The key of [`cert`](Self::cert).
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.paths[2]
    }

    /// A certificate for a client.
    #[must_use]
    pub fn client_cert(&self) -> &Path {
        &self.paths[3]
    }

    /// The key of [`client_cert`](Self::client_cert).
    #[must_use]
    pub fn client_key(&self) -> &Path {
        &self.paths[4]
    }

    /// An authority that has signed none of these: who trusts only it must refuse the server.
    #[must_use]
    pub fn unrelated_ca(&self) -> &Path {
        &self.paths[5]
    }
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("the provider can make keys");
    let pem = params.self_signed(&key).expect("an authority may sign itself").pem();
    (pem, Issuer::new(params, key))
}

fn signed(
    issuer: &Issuer<'static, KeyPair>,
    names: Vec<String>,
    common_name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> (String, String) {
    let mut params =
        CertificateParams::new(names.clone()).unwrap_or_else(|e| panic!("no host names: {names:?}: {e}"));
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().expect("the provider can make keys");
    let cert = params.signed_by(&key, issuer).expect("the authority can sign");
    (cert.pem(), key.serialize_pem())
}
