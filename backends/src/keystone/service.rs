//! The server's own token: got when it is first needed, renewed before it ends.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::Mutex;
use vmctl_core::clock::{self, Clock};
use vmctl_keystone::{Client, Error, Login, Outcome, Token};

/// How long before its end a token is not used any more: a validation must not race with it.
const MARGIN: Duration = Duration::from_secs(60);

pub(super) struct ServiceToken {
    client: Client,
    login: Login,
    clock: Arc<dyn Clock>,
    /// Held while logging in, so that many callers make one login.
    current: Mutex<Option<(Token, Timestamp)>>,
}

impl ServiceToken {
    pub(super) fn new(client: Client, login: Login, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            login,
            clock,
            current: Mutex::new(None),
        }
    }

    /// Returns a token that is good for a while.
    pub(super) async fn get(&self) -> Result<Token, Error> {
        self.get_unless(None).await
    }

    /// Returns another token than `refused`.
    pub(super) async fn renew(&self, refused: &Token) -> Result<Token, Error> {
        self.get_unless(Some(refused)).await
    }

    async fn get_unless(&self, refused: Option<&Token>) -> Result<Token, Error> {
        let mut current = self.current.lock().await;
        let limit = clock::add(self.clock.now(), MARGIN);
        if let Some((token, expires_at)) = &*current {
            let is_refused = refused.is_some_and(|r| r.expose() == token.expose());
            if *expires_at > limit && !is_refused {
                return Ok(token.clone());
            }
        }
        *current = None;
        match self.client.authenticate(&self.login).await? {
            Outcome::Authenticated(authenticated) => {
                let expires_at = authenticated.info.expires_at;
                *current = Some((authenticated.token.clone(), expires_at));
                Ok(authenticated.token)
            }
            // A service cannot answer for a second factor.
            Outcome::MfaRequired(_) => Err(Error::Refused),
        }
    }
}
