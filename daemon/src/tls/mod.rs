//! TLS of every listener of the process: one certificate, read again when its files change.
//!
//! ```text
//! files --start--> checked --> shown to whoever connects
//!   ^                             ^
//!   |  SIGHUP, or changed         | a pair that is whole and in time
//!   +-----------------------------+ any other: one line in the log, the old one stays
//! ```
//!
//! Connections that are open keep what they have agreed on.

mod authorities;
mod pair;
#[cfg(test)]
mod tests;
mod watch;

use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::{fmt, path::PathBuf};

use anyhow::Context as _;
use metrics::{Unit, describe_gauge, gauge};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

pub use authorities::authorities;
pub(crate) use watch::Watch;

use crate::Parsed;
use crate::check::Check;
use pair::{Files, Pair};

/// When the certificate that is shown ends. Without TLS it is absent.
const EXPIRY: &str = "tls_certificate_expiry_timestamp_seconds";

crate::settings! {
    /// What listeners show to those who connect.
    pub struct TlsSettings {
        /// Certificate and those between it and its authority, PEM: with it every listener speaks https alone
        "tls.cert_file" => cert_file: Option<PathBuf>,
        /// Key of that certificate, PEM; a file that nobody but its owner may read
        "tls.key_file" => key_file: Option<PathBuf>,
        /// Oldest version of TLS that listeners speak, 1.2 or 1.3
        "tls.min_version" = "1.2" => min_version: Parsed<MinVersion>,
    }
}

/// TLS 1.3 alone.
static NEWEST: [&SupportedProtocolVersion; 1] = [&version::TLS13];

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

impl MinVersion {
    fn spoken(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::V12 => rustls::ALL_VERSIONS,
            Self::V13 => &NEWEST,
        }
    }
}

impl FromStr for MinVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1.2" => Ok(Self::V12),
            "1.3" => Ok(Self::V13),
            _ => Err("neither 1.2 nor 1.3"),
        }
    }
}

/// Reads the pair that listeners would show, if the settings name one.
///
/// # Errors
///
/// As [`Tls::open`].
pub(crate) fn check(settings: &TlsSettings) -> anyhow::Result<Option<Check>> {
    let Some(files) = files(settings)? else {
        return Ok(None);
    };
    let pair = Pair::of(&files, &files.read()?)?;
    Tls::new(&pair, settings.min_version.0).context("TLS cannot be set up")?;
    let expired = pair
        .has_expired()
        .then(|| format!("the certificate has expired: {}", pair.expires()));
    Ok(Some(Check::new("certificate", async { Ok(expired) })))
}

fn files(settings: &TlsSettings) -> anyhow::Result<Option<Files>> {
    match (&settings.cert_file, &settings.key_file) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Files {
            certificate: certificate.clone(),
            key: key.clone(),
        })),
        (Some(_), None) => anyhow::bail!("VMCTL_TLS_CERT_FILE needs VMCTL_TLS_KEY_FILE"),
        (None, Some(_)) => anyhow::bail!("VMCTL_TLS_KEY_FILE needs VMCTL_TLS_CERT_FILE"),
    }
}

/// What the listeners of the process speak TLS with. Clones share it.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

impl Tls {
    /// Reads the pair, if the settings name one, and gives what looks at its files from then on.
    ///
    /// # Errors
    ///
    /// If one of the two files is named without the other, or the pair cannot be used.
    pub(crate) fn open(settings: &TlsSettings) -> anyhow::Result<Option<(Self, Watch)>> {
        let Some(files) = files(settings)? else {
            return Ok(None);
        };
        describe_gauge!(
            EXPIRY,
            Unit::Seconds,
            "When the certificate that listeners show ends, in seconds since 1970"
        );
        let contents = files.read()?;
        let pair = Pair::of(&files, &contents)?;
        if pair.has_expired() {
            tracing::warn!(tls.expires = pair.expires(), "the certificate has expired");
        }
        let tls = Self::new(&pair, settings.min_version.0).context("TLS cannot be set up")?;
        let watch = Watch::new(tls.clone(), files, contents);
        Ok(Some((tls, watch)))
    }

    fn new(pair: &Pair, oldest: MinVersion) -> Result<Self, rustls::Error> {
        let current = Arc::new(Current(RwLock::new(Arc::clone(pair.key()))));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(oldest.spoken())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let tls = Self { config, current };
        tls.show(pair);
        Ok(tls)
    }

    /// Shows another certificate from now on.
    fn show(&self, pair: &Pair) {
        let shown = self.current.0.write();
        *shown.unwrap_or_else(PoisonError::into_inner) = Arc::clone(pair.key());
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 million years")]
        let at = pair.expires_at() as f64;
        gauge!(EXPIRY).set(at);
    }

    /// Returns what a listener of this process speaks: always the same, whatever certificate it shows.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// The certificate that is shown.
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}
