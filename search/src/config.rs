//! Where the cluster is, and who we are there.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// What a client of the cluster must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http://` or `https://`, with a path if the cluster is below one; no user in it.
    pub url: SecretString,
    /// Who we are.
    pub auth: Auth,
    /// The data stream.
    pub name: IndexName,
    /// Certificates, PEM, to trust besides the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// Who we are at the cluster.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Nobody: a cluster without security.
    None,
    /// A user.
    Basic {
        /// The user's name.
        username: String,
        /// The user's password.
        password: SecretString,
    },
    /// An API key of Elasticsearch, encoded as it was given.
    ApiKey(SecretString),
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no address of a cluster.
    #[error("the address is http:// or https:// with a host, without user, query and fragment")]
    Url,
    /// Half of a credential, or two.
    #[error("a user name and a password, or an API key, or neither")]
    Auth,
    /// It cannot be sent.
    #[error("the credential has a character that no header may have")]
    Credential,
    /// The certificates cannot be used.
    #[error("the client cannot be made")]
    Client(#[source] reqwest::Error),
}

impl Auth {
    /// Reads what was set of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Auth`] for half a credential, and for two.
    pub fn of(
        username: Option<String>,
        password: Option<SecretString>,
        api_key: Option<SecretString>,
    ) -> Result<Self, ConfigError> {
        match (username, password, api_key) {
            (None, None, None) => Ok(Self::None),
            (Some(username), Some(password), None) => Ok(Self::Basic { username, password }),
            (None, None, Some(key)) => Ok(Self::ApiKey(key)),
            _ => Err(ConfigError::Auth),
        }
    }

    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, ConfigError> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose_secret());
                format!("Basic {}", STANDARD.encode(pair))
            }
            Self::ApiKey(key) => format!("ApiKey {}", key.expose_secret()),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| ConfigError::Credential)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Config {
    pub(crate) fn base(&self) -> Result<Url, ConfigError> {
        let url: Url = self
            .url
            .expose_secret()
            .parse()
            .map_err(|_| ConfigError::Url)?;
        let plain = url.username().is_empty() && url.password().is_none();
        let bare = url.query().is_none() && url.fragment().is_none();
        let usable = matches!(url.scheme(), "http" | "https") && url.has_host() && plain && bare;
        usable.then_some(url).ok_or(ConfigError::Url)
    }
}

/// The name of a data stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexName(String);

/// A text that cannot name a data stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 100 of a-z 0-9 . _ - and begins with a letter or a digit")]
pub struct IndexNameError;

impl IndexName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the index with the position.
    pub(crate) fn position(&self) -> String {
        format!("{}-position", self.0)
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IndexName {
    type Err = IndexNameError;

    fn from_str(text: &str) -> Result<Self, IndexNameError> {
        let first = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if first && text.len() <= 100 && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IndexNameError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_both_products_take() {
        for good in ["vmctl-events", "a", "logs.vmctl_1"] {
            assert_eq!(good.parse::<IndexName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(101);
        for bad in [
            "", "-a", "_a", ".ds-a", "A", "a/b", "a*", "a b", "a,b", &long,
        ] {
            assert_eq!(bad.parse::<IndexName>(), Err(IndexNameError), "{bad}");
        }
    }

    #[test]
    fn a_credential_is_whole_or_absent_and_never_shown() {
        let secret = || Some(SecretString::from("canary"));
        let user = || Some("joe".to_owned());
        assert!(matches!(Auth::of(None, None, None), Ok(Auth::None)));
        for auth in [
            Auth::of(user(), secret(), None),
            Auth::of(None, None, secret()),
        ] {
            let auth = auth.unwrap();
            let header = auth.header().unwrap().unwrap();
            assert!(!format!("{auth:?} {header:?}").contains("canary"));
        }
        for (username, password, key) in [
            (user(), None, None),
            (None, secret(), None),
            (user(), secret(), secret()),
        ] {
            assert!(matches!(
                Auth::of(username, password, key),
                Err(ConfigError::Auth)
            ));
        }
    }

    #[test]
    fn an_address_has_no_user_and_no_query() {
        let base = |url: &str| {
            let config = Config {
                url: url.into(),
                auth: Auth::None,
                name: IndexName("a".to_owned()),
                ca_pem: None,
            };
            config.base()
        };
        assert!(base("https://search.example:9200/below").is_ok());
        for bad in [
            "",
            "search:9200",
            "ftp://a",
            "http://joe:canary@a",
            "http://a/?b",
            "http://a/#b",
        ] {
            let error = base(bad).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("canary"), "{bad}");
        }
    }
}
