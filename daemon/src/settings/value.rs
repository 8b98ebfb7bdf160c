//! The types that a setting can have.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

/// How a value is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A string.
    Text,
    /// A number or a boolean.
    Bare,
    /// A list of strings; elsewhere its elements are separated by commas.
    List,
}

impl Form {
    /// What the form is called in a message.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Bare => "a number or a boolean",
            Self::List => "a string or a list of strings",
        }
    }
}

/// A type that a setting can have.
pub trait Value: Sized {
    /// How it is written in the file.
    const FORM: Form = Form::Text;
    /// Whether it is a secret: no flag, may come from a file of its own.
    const SECRET: bool = false;

    /// Reads a text that is not empty. The error says what is wrong; for a secret it must not
    /// repeat the text.
    fn parse(text: &str) -> Result<Self, String>;

    /// What the setting is when it is absent and has no default; `None` makes it required.
    fn absent() -> Option<Self> {
        None
    }

    /// What may be shown of a text, `None` for nothing.
    fn shown(text: &str) -> Option<String> {
        (!Self::SECRET).then(|| text.to_owned())
    }
}

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        // An unset variable of a shell, most often; it would mean the current directory.
        if text.is_empty() {
            return Err("the path is empty".to_owned());
        }
        Ok(text.into())
    }
}

impl Value for SecretString {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl Value for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("{text:?} is not an address and a port, such as 127.0.0.1:8080 or [::]:8080")
        })
    }
}

impl Value for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map_err(|_| format!("{text:?} is not a duration, such as 90s, 5m or 24h"))
    }
}

impl Value for bool {
    const FORM: Form = Form::Bare;

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is neither true nor false"))
    }
}

macro_rules! number {
    ($($type:ty),+) => { $(
        impl Value for $type {
            const FORM: Form = Form::Bare;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| {
                    format!("{text:?} is not a whole number from {} to {}", Self::MIN, Self::MAX)
                })
            }
        }
    )+ };
}

number!(u16, u32, u64, usize);

impl<T: Value> Value for Option<T> {
    const FORM: Form = T::FORM;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn shown(text: &str) -> Option<String> {
        T::shown(text)
    }
}

impl<T: Value> Value for Vec<T> {
    const FORM: Form = Form::List;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        elements(text).map(T::parse).collect()
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn shown(text: &str) -> Option<String> {
        let shown: Option<Vec<_>> = elements(text).map(T::shown).collect();
        shown.map(|shown| shown.join(","))
    }
}

/// The elements of a list that is written with commas.
pub(super) fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// A URL that may hold a password. What is shown of it does not.
#[derive(Clone)]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// The whole URL, for the client that connects.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::shown(self.expose()).unwrap_or_else(|| "[redacted]".into()))
    }
}

impl Value for SecretUrl {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Ok(Self(text.into())),
            _ => Err("not a URL, such as amqp://127.0.0.1:5672/%2f".into()),
        }
    }

    /// Everything up to the last `@` may belong to the password, and so may the query.
    fn shown(text: &str) -> Option<String> {
        let (scheme, rest) = text.split_once("://")?;
        let (user, rest) = match rest.rsplit_once('@') {
            Some((_, rest)) => ("***@", rest),
            None => ("", rest),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, _)) => (rest, "?***"),
            None => (rest, ""),
        };
        Some(format!("{scheme}://{user}{rest}{query}"))
    }
}

/// A value of any type that can be read from a text, and that is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<T>(pub T);

impl<T> Value for Parsed<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|error| format!("{text:?}: {error}"))
    }
}

/// An address to listen on, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Listen on this address.
    On(SocketAddr),
    /// Do not listen.
    Off,
}

impl Value for Listen {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        SocketAddr::parse(text)
            .map(Self::On)
            .map_err(|error| format!("{error}, or off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for (url, shown) in [
            ("amqp://127.0.0.1:5672/%2f", "amqp://127.0.0.1:5672/%2f"),
            ("amqp://joe:canary@host/%2f", "amqp://***@host/%2f"),
            ("redis://:can/ary@host:6379/0", "redis://***@host:6379/0"),
            ("redis://:can@ary@host", "redis://***@host"),
            ("redis://host/0?password=canary", "redis://host/0?***"),
            ("amqp://u:can?ary@host/", "amqp://***@host/"),
        ] {
            let parsed = SecretUrl::parse(url).unwrap();
            assert_eq!(parsed.expose(), url);
            assert_eq!(SecretUrl::shown(url).as_deref(), Some(shown));
            assert_eq!(format!("{parsed:?}"), shown);
        }
    }

    #[test]
    fn a_list_of_urls_is_shown_without_passwords() {
        let text = "amqp://a:canary@one/, amqp://a:canary@two/";
        assert_eq!(
            Vec::<SecretUrl>::shown(text).as_deref(),
            Some("amqp://***@one/,amqp://***@two/")
        );
        assert_eq!(Vec::<SecretUrl>::parse(text).unwrap().len(), 2);
        assert_eq!(Vec::<SecretString>::shown("a,b"), None);
    }

    #[test]
    fn listen_takes_an_address_or_off() {
        assert_eq!(Listen::parse("off"), Ok(Listen::Off));
        assert!(matches!(Listen::parse("[::]:8081"), Ok(Listen::On(_))));
        assert!(Listen::parse("8081").unwrap_err().contains("or off"));
    }

    #[test]
    fn a_parsed_type_says_what_it_does_not_take() {
        assert_eq!(Parsed::<char>::parse("x"), Ok(Parsed('x')));
        let error = Parsed::<char>::parse("xy").unwrap_err();
        assert!(error.starts_with("\"xy\": "), "{error}");
    }

    #[test]
    fn durations_are_written_with_a_unit() {
        assert_eq!(Duration::parse("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(Duration::parse("0s"), Ok(Duration::ZERO));
        assert!(Duration::parse("90").unwrap_err().contains("90s"));
    }
}
