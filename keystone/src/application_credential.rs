//! Application credentials: a secret of a user's for one project, which can be narrowed, ends by
//! itself and can be deleted, and so is safer to keep than a password.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::client::Client;
use crate::error::Error;
use crate::token::Token;

/// What an application credential is to be. It never may make others (`unrestricted`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewApplicationCredential {
    /// Its name, unique for the user.
    pub name: String,
    /// A line for people.
    pub description: Option<String>,
    /// When it ends; never, if not said.
    pub expires_at: Option<Timestamp>,
    /// The names of the roles that it carries; empty means all that the token has.
    pub roles: Vec<String>,
}

/// An application credential, just made.
#[derive(Clone, Debug)]
pub struct ApplicationCredential {
    /// Its id, which logs in together with the secret.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The secret. Keystone shows it this once.
    pub secret: SecretString,
    /// The project that it is good for.
    pub project_id: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl Client {
    /// Makes an application credential for the owner of `token`, for the token's project.
    ///
    /// [`Error::Conflict`] if the user has one of that name.
    pub async fn create_application_credential(
        &self,
        token: &Token,
        user_id: &str,
        new: &NewApplicationCredential,
    ) -> Result<ApplicationCredential, Error> {
        let path = ["users", id(user_id)?, "application_credentials"];
        let request = self
            .request_as(token, Method::POST, &path)?
            .json(&new.body());
        let answer = self.send(request).await?;
        if answer.status != StatusCode::CREATED {
            return Err(answer.into_error());
        }
        parse(&answer)
    }

    /// Deletes an application credential, and with it every token that it made.
    ///
    /// [`Error::NotFound`] if there is none.
    pub async fn delete_application_credential(
        &self,
        token: &Token,
        user_id: &str,
        credential_id: &str,
    ) -> Result<(), Error> {
        let path = [
            "users",
            id(user_id)?,
            "application_credentials",
            id(credential_id)?,
        ];
        let answer = self
            .send(self.request_as(token, Method::DELETE, &path)?)
            .await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        Err(answer.into_error())
    }
}

impl NewApplicationCredential {
    fn body(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("name".into(), self.name.as_str().into());
        fields.insert("unrestricted".into(), false.into());
        if let Some(description) = &self.description {
            fields.insert("description".into(), description.as_str().into());
        }
        if let Some(expires_at) = self.expires_at {
            fields.insert("expires_at".into(), expires_at.to_string().into());
        }
        if !self.roles.is_empty() {
            let roles: Vec<_> = self
                .roles
                .iter()
                .map(|name| json!({ "name": name }))
                .collect();
            fields.insert("roles".into(), roles.into());
        }
        json!({ "application_credential": fields })
    }
}

/// Ids are letters, digits, `-` and `_`; anything else would change the path that is called.
fn id(text: &str) -> Result<&str, Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=255).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text)
    } else {
        Err(Error::Invalid("that is not an id of Keystone's"))
    }
}

#[derive(Deserialize)]
struct Body {
    application_credential: Wire,
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    name: String,
    secret: String,
    project_id: String,
    expires_at: Option<String>,
}

fn parse(answer: &Answer) -> Result<ApplicationCredential, Error> {
    let wire = answer.json::<Body>()?.application_credential;
    let secret = SecretString::from(wire.secret);
    let expires_at = match wire.expires_at {
        Some(text) => {
            Some(time(&text).ok_or_else(|| answer.protocol("the time of expiry is not a time"))?)
        }
        None => None,
    };
    Ok(ApplicationCredential {
        id: wire.id,
        name: wire.name,
        secret,
        project_id: wire.project_id,
        expires_at,
    })
}

/// Here, unlike elsewhere, Keystone leaves out the `Z` of a time that is in UTC.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_a_zone() {
        let expected: Timestamp = "2027-02-21T00:00:00Z".parse().unwrap();
        assert_eq!(time("2027-02-21T00:00:00.000000"), Some(expected));
        assert_eq!(time("2027-02-21T00:00:00.000000Z"), Some(expected));
        assert_eq!(time("soon"), None);
    }

    #[test]
    fn only_ids_reach_a_path() {
        assert!(id("21d17cb4b4d44083b8cf429267a28795").is_ok());
        let long = "a".repeat(256);
        for text in ["", "..", "a/b", "a b", "%2e", "a?b", &long] {
            assert!(id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_sent() {
        let new = NewApplicationCredential {
            name: "vmctl@host".into(),
            description: None,
            expires_at: Some("2027-02-21T00:00:00Z".parse().unwrap()),
            roles: vec!["member".into()],
        };
        let expected = json!({ "application_credential": {
            "name": "vmctl@host",
            "unrestricted": false,
            "expires_at": "2027-02-21T00:00:00Z",
            "roles": [{ "name": "member" }],
        } });
        assert_eq!(new.body(), expected);
    }
}
