//! A certificate and its key: read from two files, and checked before anybody sees it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::time::ASN1Time;

use crate::private::mode_for_others;

/// More than any chain or key has.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a pair is not shown. Never holds anything of the key.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} can be read by others than its owner: its mode is {mode:04o}", path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("{} holds no certificate that can be read as PEM", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} holds no private key that can be read as PEM", .0.display())]
    NoKey(PathBuf),
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    Apart { key: PathBuf, certificate: PathBuf },
    #[error("{} cannot be used", path.display())]
    Unusable {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the certificate in {} has expired: it ended at {at}", path.display())]
    Expired { path: PathBuf, at: String },
}

/// Where the pair is.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What the files hold.
#[derive(Clone)]
pub(super) struct Contents {
    certificate: String,
    key: SecretString,
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
            && self.key.expose_secret() == other.key.expose_secret()
    }
}

impl Files {
    pub fn read(&self) -> Result<Contents, PairError> {
        private(&self.key)?;
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?.into(),
        })
    }
}

/// Refuses a key that others may read.
fn private(path: &Path) -> Result<(), PairError> {
    match mode_for_others(path).map_err(|source| unread(path, source))? {
        Some(mode) => Err(PairError::Open {
            path: path.to_owned(),
            mode,
        }),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, PairError> {
    let mut text = String::new();
    let opened = File::open(path).map_err(|source| unread(path, source))?;
    let read = opened.take(MAX_BYTES).read_to_string(&mut text);
    read.map_err(|source| unread(path, source))?;
    Ok(text)
}

fn unread(path: &Path, source: io::Error) -> PairError {
    let path = path.to_owned();
    PairError::Read { path, source }
}

/// A certificate with its key, fit to be shown.
pub(super) struct Pair {
    key: Arc<CertifiedKey>,
    expires: ASN1Time,
}

impl Pair {
    /// Checks that the two belong together, and can be used.
    pub fn of(files: &Files, contents: &Contents) -> Result<Self, PairError> {
        let (certificate, key) = (&files.certificate, &files.key);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(contents.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| PairError::NoCertificate(certificate.clone()))?;
        let own = chain.first();
        let own = own.ok_or_else(|| PairError::NoCertificate(certificate.clone()))?;
        let expires = match x509_parser::parse_x509_certificate(own) {
            Ok((_, parsed)) => parsed.validity().not_after,
            Err(source) => return Err(unusable(certificate, source)),
        };
        let secret = PrivateKeyDer::from_pem_slice(contents.key.expose_secret().as_bytes())
            .map_err(|_| PairError::NoKey(key.clone()))?;
        let provider = rustls::crypto::ring::default_provider();
        let pair = CertifiedKey::from_der(chain, secret, &provider);
        let pair = pair.map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => PairError::Apart {
                key: key.clone(),
                certificate: certificate.clone(),
            },
            source @ rustls::Error::InvalidCertificate(_) => unusable(certificate, source),
            source => unusable(key, source),
        })?;
        Ok(Self {
            key: Arc::new(pair),
            expires,
        })
    }

    /// Refuses a certificate that nobody would accept.
    pub fn in_time(self, files: &Files) -> Result<Self, PairError> {
        if self.has_expired() {
            return Err(PairError::Expired {
                path: files.certificate.clone(),
                at: self.expires(),
            });
        }
        Ok(self)
    }

    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    pub fn has_expired(&self) -> bool {
        self.expires < ASN1Time::now()
    }

    /// Returns the end of the certificate, in seconds since 1970.
    pub fn expires_at(&self) -> i64 {
        self.expires.timestamp()
    }

    /// Returns the end of the certificate, for people.
    pub fn expires(&self) -> String {
        self.expires.to_string()
    }
}

fn unusable(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PairError {
    PairError::Unusable {
        path: path.to_owned(),
        source: source.into(),
    }
}
