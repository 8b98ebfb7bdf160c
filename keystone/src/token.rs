//! Tokens, as values that are well-formed and do not print.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// The longest token that is sent to Keystone, in bytes.
///
/// A Fernet token has about 200 bytes, a signed (JWS) one with a large payload a few thousand.
const LONGEST: usize = 8 * 1024;

/// A Keystone token, or the receipt of a login that needs one more factor.
///
/// It holds 1 to 8192 visible ASCII characters, so it is always a valid header value and carries no
/// line break into a request. It has neither `Display` nor `Serialize`, and its `Debug` is redacted.
#[derive(Clone)]
pub struct Token(SecretString);

/// The text cannot be a token: it is empty, longer than 8 KiB, or holds something other than
/// visible ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed token")]
pub struct MalformedToken;

impl Token {
    /// Accepts a text that can be a token; says nothing about its validity.
    pub fn parse(text: impl Into<String>) -> Result<Self, MalformedToken> {
        let secret = SecretString::from(text.into());
        let bytes = secret.expose_secret().as_bytes();
        let well_formed = (1..=LONGEST).contains(&bytes.len());
        if well_formed && bytes.iter().all(u8::is_ascii_graphic) {
            Ok(Self(secret))
        } else {
            Err(MalformedToken)
        }
    }

    /// The token itself, for a header or a credential store.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The token as a header value that HTTP libraries do not print.
    pub(crate) fn header(&self) -> Result<HeaderValue, MalformedToken> {
        let mut value = HeaderValue::from_str(self.expose()).map_err(|_| MalformedToken)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_tokens_are_refused() {
        let longest = "a".repeat(LONGEST);
        let too_long = "a".repeat(LONGEST + 1);
        assert!(Token::parse(longest).is_ok());
        for text in [
            "",
            &too_long,
            "a b",
            "a\r\nX-Auth-Token: b",
            "a\0",
            "jeton\u{e9}",
        ] {
            assert_eq!(Token::parse(text).err(), Some(MalformedToken), "{text:?}");
        }
    }

    #[test]
    fn a_token_does_not_print() {
        let token = Token::parse("gAAAAABsecret").unwrap();
        assert_eq!(format!("{token:?}"), "Token(redacted)");
        assert!(token.header().unwrap().is_sensitive());
    }
}
