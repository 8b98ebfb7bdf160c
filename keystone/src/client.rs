//! The calls: log in, validate, revoke.

use std::time::Duration;

use reqwest::{Certificate, Method as Verb, Proxy, RequestBuilder, StatusCode, redirect};
use url::Url;

use crate::answer::{Answer, transport};
use crate::error::{ConfigError, Error};
use crate::login::Login;
use crate::response::{Authenticated, MfaBody, Outcome, TokenBody, TokenInfo};
use crate::token::Token;

const AUTH_TOKEN: &str = "x-auth-token";
const SUBJECT_TOKEN: &str = "x-subject-token";
const RECEIPT: &str = "openstack-auth-receipt";

/// The bounds of every call, and the way to Keystone.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest that a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// The longest that a call may take in all, its body included.
    pub timeout: Duration,
    /// The largest answer that is read, in bytes.
    pub max_body: usize,
    /// The proxy to use; none otherwise, whatever the environment says.
    pub proxy: Option<Url>,
    /// Certificates (PEM) of authorities that are trusted besides the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(3),
            max_body: 256 * 1024,
            proxy: None,
            ca_pem: None,
        }
    }
}

/// A client of one Keystone. Cloning it is cheap; clones share their settings.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    max_body: usize,
}

impl Client {
    /// Makes a client of the Keystone at `url`, which ends in `/v3` or is the root above it.
    ///
    /// # Panics
    ///
    /// If the process has installed no rustls provider.
    pub fn new(url: &Url, options: &Options) -> Result<Self, ConfigError> {
        let base = base_of(url)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            // uwsgi's HTTP socket closes the connection after each answer without saying so: a
            // kept connection is a dead one.
            .pool_max_idle_per_host(0);
        if let Some(proxy) = &options.proxy {
            let proxy = Proxy::all(proxy.as_str()).map_err(ConfigError::Http)?;
            builder = builder.proxy(proxy);
        }
        if let Some(pem) = &options.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem).map_err(ConfigError::Http)?;
            builder = builder.tls_certs_merge(certificates);
        } else if base.scheme() == "http" && options.proxy.is_none() {
            // Nothing will be verified: the system's store need not be loaded, nor be there.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(ConfigError::Http)?;
        Ok(Self {
            http,
            base,
            max_body: options.max_body,
        })
    }

    /// The address that is called, ending in `/v3`.
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// Logs in.
    ///
    /// [`Error::Refused`] means that Keystone does not accept what was sent, without saying which
    /// part: the name, the password, the code, or the right to the scope.
    pub async fn authenticate(&self, login: &Login) -> Result<Outcome, Error> {
        let mut request = self.request(Verb::POST, &["auth", "tokens"], &[("nocatalog", "")])?;
        if let Some(receipt) = &login.receipt {
            request = request.header(RECEIPT, receipt.header()?);
        }
        let answer = self.send(request.json(&login.body())).await?;
        match answer.status {
            StatusCode::CREATED => {
                let token = answer.token(SUBJECT_TOKEN)?;
                let info = answer.json::<TokenBody>()?.into();
                Ok(Outcome::Authenticated(Box::new(Authenticated {
                    token,
                    info,
                })))
            }
            StatusCode::UNAUTHORIZED if answer.has(RECEIPT) => {
                let receipt = answer.token(RECEIPT)?;
                Ok(Outcome::MfaRequired(
                    answer.json::<MfaBody>()?.with(receipt),
                ))
            }
            _ => Err(match answer.into_error() {
                // An application credential or a token that does not exist, instead of a user.
                Error::NotFound => Error::Refused,
                error => error,
            }),
        }
    }

    /// Describes `subject`, or returns `None` if it is not valid: unknown, expired or revoked.
    ///
    /// `service` is the caller's own token. [`Error::Refused`] and [`Error::Forbidden`] are about
    /// *it*: the answer then says nothing about `subject`.
    pub async fn validate(
        &self,
        service: &Token,
        subject: &Token,
    ) -> Result<Option<TokenInfo>, Error> {
        let request = self
            .request(Verb::GET, &["auth", "tokens"], &[("nocatalog", "")])?
            .header(AUTH_TOKEN, service.header()?)
            .header(SUBJECT_TOKEN, subject.header()?);
        let answer = self.send(request).await?;
        if answer.status == StatusCode::OK {
            return Ok(Some(answer.json::<TokenBody>()?.into()));
        }
        match answer.into_error() {
            Error::NotFound => Ok(None),
            error => Err(error),
        }
    }

    /// Ends `subject` now. A user may end their own tokens; ending one that is not valid any more
    /// succeeds. If `auth` itself is not valid, that is [`Error::Refused`].
    pub async fn revoke(&self, auth: &Token, subject: &Token) -> Result<(), Error> {
        let request = self
            .request(Verb::DELETE, &["auth", "tokens"], &[])?
            .header(AUTH_TOKEN, auth.header()?)
            .header(SUBJECT_TOKEN, subject.header()?);
        let answer = self.send(request).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        match answer.into_error() {
            Error::NotFound => Ok(()),
            error => Err(error),
        }
    }

    /// A request in the name of the owner of `auth`.
    pub(crate) fn request_as(
        &self,
        auth: &Token,
        verb: Verb,
        path: &[&str],
    ) -> Result<RequestBuilder, Error> {
        Ok(self
            .request(verb, path, &[])?
            .header(AUTH_TOKEN, auth.header()?))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let response = request.send().await.map_err(transport)?;
        Answer::read(response, self.max_body).await
    }

    fn request(
        &self,
        verb: Verb,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, Error> {
        let mut url = self.base.clone();
        // Escapes what is not a plain character, but drops the dot segments: see `is_id`.
        url.path_segments_mut()
            .map_err(|()| Error::Invalid("the address cannot have a path"))?
            .extend(path);
        let request = self.http.request(verb, url);
        Ok(if query.is_empty() {
            request
        } else {
            request.query(query)
        })
    }
}

/// The address with `/v3` at its end.
fn base_of(url: &Url) -> Result<Url, ConfigError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ConfigError::Url("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::Url(
            "it must not hold a user name or a password",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError::Url("it must not hold a query or a fragment"));
    }
    let mut base = url.clone();
    let path = url.path().trim_end_matches('/');
    match path.rsplit('/').next() {
        Some("v3") => base.set_path(path),
        Some("v2.0") => {
            return Err(ConfigError::Url(
                "it is of version 2, which is gone; use /v3",
            ));
        }
        _ => base.set_path(&format!("{path}/v3")),
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Result<String, String> {
        let url = Url::parse(text).unwrap();
        base_of(&url)
            .map(String::from)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_end_in_v3() {
        for (given, used) in [
            ("http://id.example/v3", "http://id.example/v3"),
            ("http://id.example/v3/", "http://id.example/v3"),
            ("http://id.example:5000", "http://id.example:5000/v3"),
            (
                "https://id.example/identity/",
                "https://id.example/identity/v3",
            ),
            (
                "https://id.example/identity/v3",
                "https://id.example/identity/v3",
            ),
        ] {
            assert_eq!(base(given).as_deref(), Ok(used));
        }
    }

    #[test]
    fn unusable_addresses_are_refused() {
        for text in [
            "ftp://id.example/v3",
            "http://joe:1234@id.example/v3",
            "http://id.example/v2.0",
            "http://id.example/v3?x=1",
        ] {
            let message = base(text).unwrap_err();
            assert!(message.starts_with("unusable Keystone address") && !message.contains("1234"));
        }
    }
}
