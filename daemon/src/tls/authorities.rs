//! Who is trusted to vouch for others, besides those whom the system trusts.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::WrongSetting;

/// Reads the file that `VMCTL_CA_FILE` names, if it does, and makes sure that each certificate in it can be used.
///
/// # Errors
///
/// When the file cannot be read, holds no certificate, or one that is broken.
pub fn authorities(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    let read = || -> anyhow::Result<String> {
        let pem = fs::read_to_string(file)?;
        let mut known = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            known.add(certificate?)?;
        }
        ensure!(!known.is_empty(), "it holds no certificate");
        Ok(pem)
    };
    let pem = read().with_context(|| file.display().to_string());
    let pem = pem.context(WrongSetting("VMCTL_CA_FILE"))?;
    Ok(Some(pem))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::Authority;

    #[test]
    fn only_certificates_are_taken() {
        assert_eq!(authorities(None).unwrap(), None);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let absent = format!("{:#}", authorities(Some(&path)).unwrap_err());
        assert!(absent.starts_with("VMCTL_CA_FILE: "), "{absent}");
        let good = ["one", "two"]
            .map(|name| Authority::new(name).pem())
            .concat();
        fs::write(&path, &good).unwrap();
        assert_eq!(authorities(Some(&path)).unwrap(), Some(good.clone()));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "no PEM", broken, &format!("{good}{broken}")] {
            fs::write(&path, text).unwrap();
            assert!(authorities(Some(&path)).is_err(), "{text}");
        }
    }
}
