//! The secrets that sign callbacks.
//!
//! A secret is a list of keys, `whsec_` and base64, the newest first: one key, or two while it is
//! being changed. A job names its secret; the worker finds it, first one of the job's project and
//! then one that all projects share. Whoever knows a shared secret can forge callbacks to every
//! receiver that trusts it, so projects that do not trust each other get their own.

use std::{fmt, io, path::PathBuf, str::FromStr};

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use tokio::{fs::File, io::AsyncReadExt as _};
use vmctl_core::callback::is_secret_ref;

/// Largest file of a secret that is read, in bytes.
const MAX_FILE: u64 = 4096;

/// Fewest and most bytes of a key (Standard Webhooks 1.0, "Secret").
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// Most keys of one secret.
const MAX_KEYS: usize = 4;

/// The name of the secret that a job has when it names none.
const DEFAULT: &str = "default";

/// Base64 with or without padding: secrets are copied by hand.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a secret cannot be used. Never says anything of its text.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not of the form that Standard Webhooks asks for.
    #[error("a secret is whsec_ and 24 to 64 bytes in base64; two keys stand on two lines")]
    Malformed,
    /// There is none of that name.
    #[error("this worker has no secret of that name")]
    Unknown,
    /// Its file cannot be read.
    #[error("the secret's file cannot be read")]
    Io(#[source] io::Error),
}

/// One secret.
pub(crate) struct Secret(Vec<SecretSlice<u8>>);

impl Secret {
    /// Returns its keys, the newest first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SecretSlice<u8>> {
        self.0.iter()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let keys: Vec<_> = text
            .split([',', ' ', '\t', '\r', '\n'])
            .filter(|word| !word.is_empty())
            .map(|word| {
                let base64 = word.strip_prefix("whsec_")?;
                let key = BASE64.decode(base64).ok()?;
                KEY.contains(&key.len()).then(|| SecretSlice::from(key))
            })
            .collect::<Option<_>>()
            .ok_or(SecretError::Malformed)?;
        if (1..=MAX_KEYS).contains(&keys.len()) {
            Ok(Self(keys))
        } else {
            Err(SecretError::Malformed)
        }
    }
}

/// Where a worker finds secrets.
#[derive(Debug, Default)]
pub struct Secrets {
    default: Option<SecretString>,
    directory: Option<PathBuf>,
}

impl Secrets {
    /// Takes the secret `default`, and a directory with a file for each other: `NAME.PROJECT` for one
    /// project alone, `NAME` for all. Files are read when they are needed, so that a change counts
    /// from the next attempt on.
    ///
    /// # Errors
    ///
    /// [`SecretError::Malformed`] when `default` is no secret.
    pub fn new(
        default: Option<SecretString>,
        directory: Option<PathBuf>,
    ) -> Result<Self, SecretError> {
        if let Some(text) = &default {
            text.expose_secret().parse::<Secret>()?;
        }
        Ok(Self { default, directory })
    }

    /// Finds the secret of a name for a project.
    pub(crate) async fn find(&self, name: &str, project: &str) -> Result<Secret, SecretError> {
        // Both become a file's name.
        if !is_secret_ref(name) {
            return Err(SecretError::Unknown);
        }
        if is_secret_ref(project)
            && let Some(secret) = self.read(&format!("{name}.{project}")).await?
        {
            return Ok(secret);
        }
        if let Some(secret) = self.read(name).await? {
            return Ok(secret);
        }
        let default = self.default.as_ref().filter(|_| name == DEFAULT);
        default.ok_or(SecretError::Unknown)?.expose_secret().parse()
    }

    async fn read(&self, file: &str) -> Result<Option<Secret>, SecretError> {
        let Some(directory) = &self.directory else {
            return Ok(None);
        };
        let file = match File::open(directory.join(file)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SecretError::Io(error)),
        };
        let mut text = String::new();
        let read = file.take(MAX_FILE).read_to_string(&mut text).await;
        read.map_err(SecretError::Io)?;
        SecretString::from(text).expose_secret().parse().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const TWO: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn count(secret: &Secret) -> usize {
        secret.keys().count()
    }

    #[test]
    fn a_secret_is_one_to_four_keys_of_24_to_64_bytes() {
        let both = format!("{ONE}\n{TWO}\n");
        for (text, keys) in [(ONE, 1), (&both, 2), (&both.replace('\n', ","), 2)] {
            assert_eq!(count(&text.parse().unwrap()), keys);
        }
        let many = format!("{ONE} ").repeat(5);
        for text in [
            "",
            "\n",
            "secret",
            "whsec_",
            "whsec_AAAA",
            "whsec_!",
            &many,
            &ONE[6..],
        ] {
            let error = text.parse::<Secret>().unwrap_err();
            assert!(matches!(error, SecretError::Malformed), "{text}");
            assert!(!error.to_string().contains(&ONE[6..]));
        }
        assert_eq!(
            format!("{:?}", ONE.parse::<Secret>().unwrap()),
            "[redacted]"
        );
    }

    #[tokio::test]
    async fn a_projects_own_secret_comes_before_the_shared_one() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("team.p1", &format!("{ONE}\n{TWO}"));
        write("team", ONE);
        write("broken", "x");
        let secrets = Secrets::new(Some(ONE.into()), Some(directory.path().to_owned())).unwrap();
        let find = async |name: &str, project: &str| {
            secrets
                .find(name, project)
                .await
                .map(|secret| count(&secret))
        };
        assert_eq!(find("team", "p1").await.unwrap(), 2);
        assert_eq!(find("team", "p2").await.unwrap(), 1);
        assert_eq!(find("default", "p1").await.unwrap(), 1);
        for name in ["other", "../team", "team.p1", ""] {
            assert!(
                matches!(find(name, "p1").await, Err(SecretError::Unknown)),
                "{name}"
            );
        }
        assert!(matches!(
            find("broken", "p1").await,
            Err(SecretError::Malformed)
        ));
        // A project's name is no path either.
        assert_eq!(find("team", "../../etc").await.unwrap(), 1);
        assert!(Secrets::new(Some("x".into()), None).is_err());
        let none = Secrets::default();
        assert!(matches!(
            none.find("default", "p").await,
            Err(SecretError::Unknown)
        ));
    }
}
