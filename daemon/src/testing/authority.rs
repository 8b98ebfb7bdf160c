//! A certificate authority that nobody knows but the test.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// The authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server shows, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Identity {
    /// Writes both into files of a directory, `NAME.pem` and `NAME.key`, each replaced as a whole.
    pub fn write(&self, directory: &Path, name: &str) -> io::Result<()> {
        let (certificate, key) = (&self.certificate, &self.key);
        for (file, text) in [("pem", certificate), ("key", key)] {
            let path = directory.join(format!("{name}.{file}"));
            let next = path.with_extension("next");
            let mut options = OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            options.open(&next)?.write_all(text.as_bytes())?;
            fs::rename(next, path)?;
        }
        Ok(())
    }
}

impl Authority {
    /// Makes one of this name, with a key of its own.
    pub fn new(name: &str) -> Self {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key()).expect("an authority is signed"))
    }

    /// Returns its certificate, in PEM, for those who trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Gives a certificate for these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(&params(names))
    }

    /// Gives one that was good for a while, long ago.
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        let mut params = params(names);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 12, 31);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("a name is signed");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names are names")
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key is made")
}
