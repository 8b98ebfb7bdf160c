//! Who may vouch for Redis.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use redis::TlsCertificates;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::config::ConfigError;

/// Returns the authorities of this text, PEM, and those of the system: the library would take the first
/// instead of the second.
///
/// # Errors
///
/// [`ConfigError::Authorities`] if the text holds none, or one that is broken.
pub fn authorities(pem: &str) -> Result<TlsCertificates, ConfigError> {
    let broken = |why: String| ConfigError::Authorities(why);
    let own = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let own = own.map_err(|error| broken(error.to_string()))?;
    if own.is_empty() {
        return Err(broken("no certificate is there".to_owned()));
    }
    let mut known = RootCertStore::empty();
    for certificate in &own {
        let added = known.add(certificate.clone());
        added.map_err(|error| broken(error.to_string()))?;
    }
    // A certificate of the system's that cannot be read vouches for nobody, and stops nothing.
    let system = rustls_native_certs::load_native_certs().certs;
    let system = system
        .into_iter()
        .filter(|der| known.add(der.clone()).is_ok());
    let all: Vec<_> = own.iter().cloned().chain(system).collect();
    let mut root_cert = String::new();
    for certificate in all {
        let text = STANDARD.encode(certificate);
        // Writing to a string cannot fail.
        let _ = write!(
            root_cert,
            "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        );
    }
    Ok(TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert.into_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for text in [
            "",
            "no PEM",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
        ] {
            let refused = authorities(text);
            assert!(
                matches!(refused, Err(ConfigError::Authorities(_))),
                "{text}"
            );
        }
    }
}
